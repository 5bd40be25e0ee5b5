//! To whom the API server of a cluster sends whole objects, in words: what the audit has no finding for.

use std::collections::BTreeSet;

use super::some_of;
use crate::observe::Key;

/// What was seen of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Services, in namespaces that name no residency, behind which webhooks, APIServices and conversions are served.
    pub services: BTreeSet<Key>,
    /// Services in governed namespaces that convert custom resources.
    pub serving: BTreeSet<Key>,
    /// Hosts outside the cluster that convert custom resources.
    pub converting: BTreeSet<String>,
    /// Kinds that could not be read.
    pub unread: Vec<&'static str>,
}

impl Sent {
    /// Sentences; none where there is nothing to tell.
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut sentences = Vec::new();
        if !self.services.is_empty() {
            let names: Vec<String> = self.services.iter().map(ToString::to_string).collect();
            let (number, names) = (names.len(), some_of(names.iter().map(String::as_str)));
            let what = if number == 1 { "Service" } else { "Services" };
            sentences.push(format!("Objects go to {number} {what} in namespaces that name no residency: {names}."));
        }
        if !self.serving.is_empty() {
            let names: Vec<String> = self.serving.iter().map(ToString::to_string).collect();
            let names = some_of(names.iter().map(String::as_str));
            sentences.push(format!(
                "Governed namespaces convert custom resources ({names}): API servers reach them where a DataCenter names their addresses (spec.networks or spec.controlPlane.addresses)."
            ));
        }
        if !self.converting.is_empty() {
            let hosts = some_of(self.converting.iter().map(String::as_str));
            sentences.push(format!("Custom resources are converted outside the cluster: {hosts}."));
        }
        if !self.unread.is_empty() {
            sentences.push(format!("You may not list {}, so those were not read.", self.unread.join(", ")));
        }
        sentences.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_seen_is_told() {
        assert_eq!(Sent::default().in_words(), "");
        let sent = Sent {
            services: [Key::new("kyverno", "kyverno-svc")].into(),
            serving: [Key::new("shop", "hooks")].into(),
            converting: ["hooks.example.com".to_owned()].into(),
            unread: vec!["apiservices"],
        };
        assert_eq!(
            sent.in_words(),
            "Objects go to 1 Service in namespaces that name no residency: kyverno/kyverno-svc. \
             Governed namespaces convert custom resources (shop/hooks): API servers reach them where a DataCenter names \
             their addresses (spec.networks or spec.controlPlane.addresses). \
             Custom resources are converted outside the cluster: hooks.example.com. \
             You may not list apiservices, so those were not read."
        );
    }
}
