//! What a node's `spec.providerID` says: whose machine it is, and sometimes where.
//!
//! Forms as the cloud controller managers write them (`facts` of each provider's source). The form tells the provider; a
//! label never does, since kubelets may set their own.

/// What a provider ID tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderId {
    /// The form of this provider, with the region or zone in it, if it has one.
    Of {
        /// Provider, as the catalogue names it.
        provider: &'static str,
        /// Region inside the ID.
        region: Option<String>,
        /// Zone inside the ID.
        zone: Option<String>,
    },
    /// A form that belongs to no provider that is known here.
    Unrecognised,
}

/// Providers whose form is known, so that another form cannot be theirs.
const KNOWN: [&str; 9] = ["alibaba", "aws", "azure", "digitalocean", "gcp", "huawei", "oracle", "tencent", "openstack"];

/// Whether the form of `provider`'s IDs is known.
#[must_use]
pub fn form_is_known(provider: &str) -> bool {
    KNOWN.contains(&provider)
}

/// Reads a provider ID.
#[must_use]
pub fn read(id: &str) -> ProviderId {
    let of = |provider, region: Option<&str>, zone: Option<&str>| ProviderId::Of {
        provider,
        region: region.filter(|text| !text.is_empty()).map(str::to_owned),
        zone: zone.filter(|text| !text.is_empty()).map(str::to_owned),
    };
    let Some((scheme, rest)) = id.split_once("://") else {
        return match id.split_once('.') {
            Some(("ocid1", _)) => of("oracle", None, None),
            Some((region, instance)) if instance.starts_with("i-") => of("alibaba", Some(region), None),
            _ => ProviderId::Unrecognised,
        };
    };
    let mut parts = rest.trim_start_matches('/').split('/');
    let first = parts.next();
    match scheme {
        "aws" => of("aws", None, first.filter(|part| !part.starts_with("i-"))),
        "azure" => of("azure", None, None),
        "gce" => of("gcp", None, parts.next()),
        "alicloud" => of("alibaba", rest.split_once('.').map(|(region, _)| region), None),
        "qcloud" => of("tencent", None, first),
        "huaweicloud" => of("huawei", None, None),
        "oci" => of("oracle", None, None),
        "digitalocean" => of("digitalocean", None, None),
        "openstack" => of("openstack", rest.split_once('/').map(|(region, _)| region), None),
        _ => ProviderId::Unrecognised,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(id: &str, provider: &str, region: Option<&str>, zone: Option<&str>) {
        let ProviderId::Of { provider: read_provider, region: read_region, zone: read_zone } = read(id) else {
            panic!("{id} was not recognised")
        };
        assert_eq!((read_provider, read_region.as_deref(), read_zone.as_deref()), (provider, region, zone), "{id}");
    }

    #[test]
    fn every_providers_form() {
        says("cn-shanghai.i-uf6abc", "alibaba", Some("cn-shanghai"), None);
        says("alicloud://cn-hongkong.i-j6c", "alibaba", Some("cn-hongkong"), None);
        says("aws:///eu-central-1a/i-0abc", "aws", None, Some("eu-central-1a"));
        says("aws:////i-0abc", "aws", None, None);
        says("gce://project/asia-east2-a/node", "gcp", None, Some("asia-east2-a"));
        says("azure:///subscriptions/x/y", "azure", None, None);
        says("qcloud:///100003/ins-1", "tencent", None, Some("100003"));
        says("ocid1.instance.oc1.iad.abc", "oracle", None, None);
        says("openstack://RegionOne/uuid", "openstack", Some("RegionOne"), None);
        says("openstack:///uuid", "openstack", None, None);
    }

    #[test]
    fn anything_else_is_not_recognised() {
        for id in ["", "kind://docker/x/y", "bare-metal-7", "1.2.3.4"] {
            assert_eq!(read(id), ProviderId::Unrecognised, "{id}");
        }
    }
}
