//! What the Secret holds, and the next step in the life of the certificates. Pure: the clock comes in.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{ByteString, jiff::Timestamp};

/// The data of a Secret.
pub type Data = BTreeMap<String, ByteString>;

/// So long API servers have to see a new bundle before a certificate is served that needs it, and other operators to take
/// up a new certificate before the old authority goes. A configuration arrives in milliseconds; this leaves room.
const SPREAD: Duration = Duration::from_secs(15);

const AUTHORITY: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const NAMES: &str = "names";
const RENEW_AFTER: &str = "renew-after";
const NEXT: &str = "next-";
const PREVIOUS: &str = "previous-ca.crt";

/// A serving certificate with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The authority that signed it, in PEM.
    pub authority: String,
    /// In PEM.
    pub certificate: String,
    /// In PEM (PKCS#8).
    pub key: String,
    /// The host names and addresses that it is for.
    pub names: Vec<String>,
    /// When another takes its place.
    pub renew_after: Timestamp,
}

impl Issued {
    fn read(data: &Data, prefix: &str) -> Option<Self> {
        let text = |field: &str| {
            let bytes = data.get(&format!("{prefix}{field}"))?.0.clone();
            String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
        };
        Some(Self {
            authority: text(AUTHORITY)?,
            certificate: text(CERTIFICATE)?,
            key: text(KEY)?,
            names: text(NAMES).unwrap_or_default().split(',').map(str::to_owned).collect(),
            // What cannot be read is due: another is made, and nothing breaks.
            renew_after: text(RENEW_AFTER).and_then(|text| text.trim().parse().ok()).unwrap_or(Timestamp::MIN),
        })
    }

    fn fields(&self) -> [(&'static str, String); 5] {
        let Self { authority, certificate, key, names, renew_after } = self;
        [
            (AUTHORITY, authority.clone()),
            (CERTIFICATE, certificate.clone()),
            (KEY, key.clone()),
            (NAMES, names.join(",")),
            (RENEW_AFTER, renew_after.to_string()),
        ]
    }
}

/// What the Secret holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// What is served.
    pub current: Option<Issued>,
    /// What is to be served once it is trusted.
    pub next: Option<Issued>,
    /// The authority of what was served before.
    pub previous: Option<String>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the first certificate.
    Issue,
    /// Let API servers trust this bundle.
    Trust(String),
    /// Make the next certificate, so that its authority becomes trusted.
    Announce,
    /// Serve the next certificate.
    Switch,
    /// Take the previous authority out of the bundle.
    Forget,
    /// Nothing for now, but soon.
    Wait,
    /// Nothing.
    Rest,
}

/// What is so, besides the store.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// By which names the API server calls.
    pub names: &'a [String],
    /// What each webhook of the configuration trusts.
    pub trusted: &'a [Option<String>],
    /// How long the bundle has been seen to stand, with this store.
    pub stood: Duration,
    /// Now.
    pub now: Timestamp,
}

impl Store {
    /// Reads the Secret's data; what is not whole is not there.
    #[must_use]
    pub fn read(data: &Data) -> Self {
        let previous = data.get(PREVIOUS).and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        Self {
            current: Issued::read(data, ""),
            next: Issued::read(data, NEXT),
            previous: previous.filter(|text| !text.is_empty()),
        }
    }

    /// The fields of the Secret that say it, `None` for one that must not be there.
    #[must_use]
    pub fn fields(&self) -> BTreeMap<String, Option<ByteString>> {
        let Self { current, next, previous } = self;
        let mut fields = BTreeMap::from([(PREVIOUS.to_owned(), previous.clone())]);
        for (prefix, issued) in [("", current), (NEXT, next)] {
            for field in [AUTHORITY, CERTIFICATE, KEY, NAMES, RENEW_AFTER] {
                fields.insert(format!("{prefix}{field}"), None);
            }
            for (field, text) in issued.iter().flat_map(Issued::fields) {
                fields.insert(format!("{prefix}{field}"), Some(text));
            }
        }
        fields.into_iter().map(|(key, text)| (key, text.map(|text| ByteString(text.into_bytes())))).collect()
    }

    /// Every authority that may have signed what is served somewhere, the oldest first.
    #[must_use]
    pub fn bundle(&self) -> String {
        let issued = [&self.current, &self.next].into_iter().flatten().map(|issued| &issued.authority);
        self.previous.iter().chain(issued).map(String::as_str).collect()
    }

    /// The next step.
    #[must_use]
    pub fn step(&self, seen: Seen<'_>) -> Step {
        let Some(current) = &self.current else { return Step::Issue };
        let bundle = self.bundle();
        if seen.trusted.iter().any(|trusted| trusted.as_ref() != Some(&bundle)) {
            return Step::Trust(bundle);
        }
        let has_spread = seen.stood >= SPREAD;
        match (&self.next, &self.previous) {
            (Some(_), _) if has_spread => Step::Switch,
            (None, Some(_)) if has_spread => Step::Forget,
            (Some(_), _) | (None, Some(_)) => Step::Wait,
            (None, None) if current.renew_after <= seen.now || current.names != seen.names => Step::Announce,
            (None, None) => Step::Rest,
        }
    }

    /// With a first certificate, and nothing of before.
    #[must_use]
    pub fn issued(issued: Issued) -> Self {
        Self { current: Some(issued), next: None, previous: None }
    }

    /// With the certificate that comes next.
    #[must_use]
    pub fn announced(self, next: Issued) -> Self {
        Self { next: Some(next), ..self }
    }

    /// With the next certificate in the place of the current.
    #[must_use]
    pub fn switched(self) -> Self {
        let previous = self.current.map(|issued| issued.authority);
        Self { current: self.next, next: None, previous }
    }

    /// Without the authority of before.
    #[must_use]
    pub fn forgotten(self) -> Self {
        Self { previous: None, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(number: u32, renew_after: i64) -> Issued {
        Issued {
            authority: format!("authority {number}\n"),
            certificate: format!("certificate {number}\n"),
            key: format!("key {number}\n"),
            names: vec!["domicile-webhook.domicile-system.svc".into()],
            renew_after: Timestamp::from_second(renew_after).unwrap(),
        }
    }

    fn data(store: &Store) -> Data {
        store.fields().into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// The step at second 100, where the API server trusts `trusted` since a while.
    fn step(store: &Store, trusted: &str, stood: Duration) -> Step {
        let names = ["domicile-webhook.domicile-system.svc".to_owned()];
        let trusted = [Some(trusted.to_owned()), Some(trusted.to_owned())];
        store.step(Seen { names: &names, trusted: &trusted, stood, now: Timestamp::from_second(100).unwrap() })
    }

    #[test]
    fn a_secret_holds_what_was_written() {
        for store in [
            Store::default(),
            Store::issued(issued(1, 50)),
            Store::issued(issued(1, 50)).announced(issued(2, 200)),
            Store::issued(issued(1, 50)).announced(issued(2, 200)).switched(),
        ] {
            assert_eq!(Store::read(&data(&store)), store);
        }
    }

    #[test]
    fn what_is_served_was_trusted_for_a_while_before_and_is_trusted_until_nobody_serves_it() {
        assert_eq!(step(&Store::default(), "", SPREAD), Step::Issue);
        let store = Store::issued(issued(1, 50));
        assert_eq!(step(&store, "", SPREAD), Step::Trust("authority 1\n".into()));
        assert_eq!(step(&store, "authority 1\n", SPREAD), Step::Announce);

        let store = store.announced(issued(2, 200));
        let both = "authority 1\nauthority 2\n";
        assert_eq!(store.current, Some(issued(1, 50)), "the old one is served on");
        assert_eq!(step(&store, "authority 1\n", SPREAD), Step::Trust(both.into()));
        assert_eq!(step(&store, both, Duration::ZERO), Step::Wait);
        assert_eq!(step(&store, both, SPREAD), Step::Switch);

        let store = store.switched();
        assert_eq!(store.current, Some(issued(2, 200)));
        assert_eq!(step(&store, both, Duration::ZERO), Step::Wait, "another operator may serve the old one yet");
        assert_eq!(step(&store, both, SPREAD), Step::Forget);

        let store = store.forgotten();
        assert_eq!(step(&store, both, SPREAD), Step::Trust("authority 2\n".into()));
        assert_eq!(step(&store, "authority 2\n", SPREAD), Step::Rest);
    }

    #[test]
    fn other_names_and_an_unreadable_date_ask_for_another_certificate() {
        let renamed = Issued { names: vec!["localhost".into()], ..issued(1, 200) };
        assert_eq!(step(&Store::issued(renamed), "authority 1\n", SPREAD), Step::Announce);
        let mut data = data(&Store::issued(issued(1, 200)));
        assert_eq!(step(&Store::read(&data), "authority 1\n", SPREAD), Step::Rest);
        data.insert("renew-after".into(), ByteString(b"now".to_vec()));
        assert_eq!(step(&Store::read(&data), "authority 1\n", SPREAD), Step::Announce);
        data.remove("tls.key");
        assert_eq!(step(&Store::read(&data), "authority 1\n", SPREAD), Step::Issue);
    }
}
