//! What the API server answered.

use http::response::Parts;
use serde_json::Value;

/// An answer: a refusal, or an object with warnings.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Who asked for what.
    pub asked: String,
    /// HTTP status, or 0 where the connection broke.
    pub code: u16,
    /// What a refusal says; empty on success.
    pub message: String,
    /// Warnings, in order.
    pub warnings: Vec<String>,
    /// The object that was sent back.
    pub object: Value,
}

impl Reply {
    pub fn read(asked: String, head: &Parts, body: &[u8]) -> Self {
        let code = head.status.as_u16();
        let text = String::from_utf8_lossy(body);
        let object: Value = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()));
        let message = match &object {
            _ if code < 400 => String::new(),
            Value::String(text) => text.clone(),
            status => status["message"].as_str().unwrap_or_default().to_owned(),
        };
        let warnings =
            head.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok().map(unquote)).collect();
        Self { asked, code, message, warnings, object }
    }

    pub fn broken(asked: String, message: String) -> Self {
        Self { asked, code: 0, message, warnings: Vec::new(), object: Value::Null }
    }

    pub fn ok(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The object; the test fails where there is none.
    #[track_caller]
    pub fn expected(self) -> Value {
        assert!(self.ok(), "{} was expected to pass, but: {} {}", self.asked, self.code, self.message);
        self.object
    }

    /// The refusal's text, which must say `words`: one of several, where `|` separates them. Several policies may refuse one
    /// object, and which of them the API server names is undefined.
    #[track_caller]
    pub fn refused(self, words: &str) -> String {
        let (asked, message) = (&self.asked, &self.message);
        assert!(!self.ok(), "{asked} was expected to be refused with {words:?}, but passed: {}", self.object);
        let said = words.split('|').any(|words| message.contains(words));
        assert!(said, "{asked} was expected to be refused with {words:?}, but: {} {message}", self.code);
        self.message
    }

    /// Whether the answer asks for another try: the namespace is being confined or not yet furnished by Kubernetes, a cache of
    /// the server is a moment behind, the webhook that adds a pin answered late, or the server has too much to do.
    pub fn try_again(&self) -> bool {
        !self.ok() && ([429, 503].contains(&self.code) || asks_for_another_try(&self.message))
    }

    /// Ids of the rules that warned or refused, as `[domicile/…]`, sorted.
    pub fn rules(&self) -> Vec<String> {
        let mut ids: Vec<String> =
            std::iter::once(&self.message).chain(&self.warnings).filter_map(|text| rule(text)).collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

/// See [`Reply::try_again`]; for what kubectl says, too.
pub fn asks_for_another_try(text: &str) -> bool {
    let reasons = [
        "[domicile/not-confined]",
        "being confined",
        "serviceaccount \"default\" not found",
        "which adds it, was not reached",
    ];
    reasons.iter().any(|reason| text.contains(reason))
}

/// The rule that a text names first.
pub fn rule(text: &str) -> Option<String> {
    let start = text.find("[domicile/")?;
    let end = text[start..].find(']')?;
    Some(text[start..=start + end].to_owned())
}

/// The text of a `Warning` header: `299 - "text"` (RFC 7234 §5.5).
fn unquote(header: &str) -> String {
    let text = header.split_once('"').map_or(header, |(_, rest)| rest);
    text.strip_suffix('"').unwrap_or(text).replace("\\\"", "\"").replace("\\\\", "\\")
}
