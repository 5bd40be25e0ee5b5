//! Annotations that give a pod a network or an address which network policies do not reach, or which may lie abroad.
//!
//! From the sources of network plugins and clouds, in `further-networks.csv` of the chart: Helm puts the same list into the
//! policies. Left out on purpose is what a plugin writes on every pod by itself (`ovn.kubernetes.io/logical_switch`, and the
//! address of a pod: see [`super::keys::ADDRESS_ANNOTATIONS`]), and what only chooses among the cluster's own addresses
//! (`cni.projectcalico.org/ipv4pools`, `ipam.cilium.io/ip-pool`): policies hold there. A key is listed whole; who looks for
//! parts of keys would look through everything that a tenant writes.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

const CATALOGUE: &str = include_str!("../../charts/domicile/further-networks.csv");

static KNOWN: LazyLock<FurtherNetworks> = LazyLock::new(|| {
    FurtherNetworks(
        csv::Reader::from_reader(CATALOGUE.as_bytes()).deserialize::<Row>().flatten().map(|row| row.key).collect(),
    )
});

/// Keys of such annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FurtherNetworks(Vec<String>);

/// One row of the catalogue.
#[derive(Deserialize)]
#[cfg_attr(not(test), expect(dead_code, reason = "who, what and the source are for readers"))]
struct Row {
    key: String,
    by: String,
    gives: String,
    source: String,
}

impl FurtherNetworks {
    /// Those that this version of Domicile knows.
    #[must_use]
    pub fn known() -> &'static Self {
        &KNOWN
    }

    /// The known ones without those that are permitted, and others that are refused, too.
    #[must_use]
    pub fn with(permitted: &[String], refused: &[String]) -> Self {
        let mut keys: Vec<String> = KNOWN.0.iter().filter(|key| !permitted.contains(key)).cloned().collect();
        for key in refused {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        Self(keys)
    }

    /// The keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The first of these keys that is among the annotations.
    #[must_use]
    pub fn find(&self, annotations: &BTreeMap<String, String>) -> Option<&str> {
        self.iter().find(|key| annotations.contains_key(*key))
    }
}

impl FromIterator<String> for FurtherNetworks {
    fn from_iter<T: IntoIterator<Item = String>>(keys: T) -> Self {
        Self(keys.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_says_where_it_is_from() {
        let rows: Vec<Row> =
            csv::Reader::from_reader(CATALOGUE.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap();
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, FurtherNetworks::known().iter().collect::<Vec<_>>());
        assert!(keys.is_sorted() && keys.len() > 20);
        for Row { key, by, gives, source } in &rows {
            assert!(!by.is_empty() && !gives.is_empty() && source.starts_with("https://"), "{key}");
            // Helm reads a row up to its first comma, and CEL what stands between quotes.
            assert!(key.chars().all(|letter| letter.is_ascii_alphanumeric() || "./_-".contains(letter)), "{key}");
        }
    }

    #[test]
    fn what_is_permitted_is_left_out_and_what_is_refused_comes_last() {
        let further = FurtherNetworks::with(&["networkservicemesh.io".into()], &["example.com/eip".into()]);
        assert_eq!(further.iter().count(), FurtherNetworks::known().iter().count());
        let on = |key: &str| BTreeMap::from([(key.to_owned(), String::new())]);
        assert_eq!(further.find(&on("example.com/eip")), Some("example.com/eip"));
        assert_eq!(further.find(&on("networkservicemesh.io")), None);
        assert_eq!(FurtherNetworks::known().find(&on("networkservicemesh.io")), Some("networkservicemesh.io"));
        assert_eq!(FurtherNetworks::with(&[], &["networkservicemesh.io".into()]), *FurtherNetworks::known());
    }
}
