//! The region catalogue: which jurisdiction a provider's region lies in.
//!
//! Facts with a source each, compiled in from `regions.csv` (RFC 4180). Matching is exact, by provider and id or one of
//! the id's aliases: prefixes lie (`cn-hongkong` is Hong Kong, Tencent's mainland regions begin with `ap-`), and the same
//! id stands for other countries at other providers. What is not in the catalogue, or only by hearsay, is unknown.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use super::Jurisdiction;

static BUILT_IN: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::read(include_str!("regions.csv")));

/// Regions and zones by provider and id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    places: BTreeMap<(String, String), Place>,
}

/// Where a region or zone lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The region's own id; differs from what was asked for where that was an alias.
    pub region: String,
    /// The legal regime, or `ZZ` where no source says it.
    pub jurisdiction: Jurisdiction,
    /// City, for people.
    pub place: String,
}

#[derive(Deserialize)]
struct Row {
    provider: String,
    region_id: String,
    jurisdiction: String,
    place: String,
    confidence: String,
    aliases: String,
}

impl Catalogue {
    /// The catalogue of this version of Domicile.
    #[must_use]
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Reads rows; one that does not parse, or has no confidence that this project loads, is left out, so that it is
    /// unknown. A test holds that every row of the built-in file parses.
    fn read(text: &str) -> Self {
        let mut places = BTreeMap::new();
        for row in csv::Reader::from_reader(text.as_bytes()).deserialize::<Row>().flatten() {
            let Ok(jurisdiction) = Jurisdiction::parse(&row.jurisdiction) else { continue };
            let trusted = matches!(row.confidence.as_str(), "primary" | "sdk" | "secondary");
            let place = Place {
                region: row.region_id.clone(),
                jurisdiction: if trusted { jurisdiction } else { Jurisdiction::UNKNOWN },
                place: row.place,
            };
            for id in row.aliases.split('|').filter(|alias| !alias.is_empty()).chain([row.region_id.as_str()]) {
                places.insert((row.provider.clone(), id.to_owned()), place.clone());
            }
        }
        Self { places }
    }

    /// Where `id` of `provider` lies; `None` where the catalogue does not list it.
    #[must_use]
    pub fn place(&self, provider: &str, id: &str) -> Option<&Place> {
        self.places.get(&(provider.to_owned(), id.to_owned()))
    }

    /// The jurisdiction of `id`, unknown where the catalogue does not list it.
    #[must_use]
    pub fn jurisdiction(&self, provider: &str, id: &str) -> Jurisdiction {
        self.place(provider, id).map_or(Jurisdiction::UNKNOWN, |place| place.jurisdiction)
    }

    /// The names of the providers.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        let providers: std::collections::BTreeSet<&str> =
            self.places.keys().map(|(provider, _)| provider.as_str()).collect();
        providers.into_iter()
    }

    /// Every provider, id or alias, and place.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Place)> {
        self.places.iter().map(|((provider, id), place)| (provider.as_str(), id.as_str(), place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lies_in(provider: &str, region: &str, jurisdiction: &str) {
        assert_eq!(Catalogue::built_in().jurisdiction(provider, region).code(), jurisdiction, "{provider} {region}");
    }

    #[test]
    fn every_row_is_read() {
        let rows: Vec<Result<Row, csv::Error>> =
            csv::Reader::from_reader(include_str!("regions.csv").as_bytes()).deserialize().collect();
        assert!(rows.len() > 500);
        for row in rows {
            let row = row.unwrap();
            Jurisdiction::parse(&row.jurisdiction).unwrap();
        }
    }

    #[test]
    fn a_prefix_tells_nothing() {
        lies_in("alibaba", "cn-shanghai", "CN");
        lies_in("alibaba", "cn-hongkong", "HK");
        lies_in("kingsoft", "cn-taipei-1", "TW");
        lies_in("tencent", "ap-shanghai", "CN");
        lies_in("tencent", "ap-hongkong", "HK");
        lies_in("azure-china", "chinaeast", "CN");
        lies_in("azure", "eastasia", "HK");
        lies_in("tencent", "eu-moscow", "RU");
        lies_in("gcp", "europe-west6", "CH");
    }

    #[test]
    fn one_id_lies_in_several_countries() {
        lies_in("aws", "ap-southeast-1", "SG");
        lies_in("huawei", "ap-southeast-1", "HK");
        lies_in("alibaba", "me-central-1", "SA");
        lies_in("aws", "me-central-1", "AE");
    }

    #[test]
    fn short_codes_are_aliases() {
        lies_in("tencent", "gz", "CN");
        lies_in("oracle", "phx", "US");
    }

    #[test]
    fn what_is_not_listed_is_unknown() {
        lies_in("alibaba", "cn-shanghai-z", "ZZ");
        lies_in("nobody", "cn-shanghai", "ZZ");
        lies_in("alibaba", "cn-edge-1", "ZZ");
    }
}
