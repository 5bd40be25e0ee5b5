//! Makes certificates, and puts them to use.

use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::Issued;

const DAY: i64 = 24 * 60 * 60;
/// A certificate is valid so long, in days, beginning yesterday, since clocks differ.
const VALID: i64 = 90;
/// After so many days another takes its place, so that an operator that was down for weeks still serves.
const RENEWED: i64 = 30;

/// Why a certificate could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// It does not parse.
    #[error("cannot read the certificate: {0}")]
    Read(#[from] rustls::pki_types::pem::Error),
    /// It is of no use for TLS.
    #[error("cannot use the certificate: {0}")]
    Use(#[from] rustls::Error),
}

/// A certificate for these host names and addresses, signed by an authority that signs nothing else.
///
/// # Errors
/// Why it could not be made.
pub fn issue(names: &[String], now: Timestamp) -> Result<Issued, Error> {
    let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut authority = dated(Vec::new(), now)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let mut leaf = dated(names.to_vec(), now)?;
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = leaf.signed_by(&key, &Issuer::new(authority, authority_key))?;
    Ok(Issued {
        authority: authority_pem,
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        names: names.to_vec(),
        renew_after: after(now, RENEWED),
    })
}

fn after(now: Timestamp, days: i64) -> Timestamp {
    now.checked_add(SignedDuration::from_secs(days * DAY)).unwrap_or(now)
}

fn dated(names: Vec<String>, now: Timestamp) -> Result<CertificateParams, Error> {
    let date = |days: i64| {
        let date = after(now, days).to_zoned(TimeZone::UTC).date();
        date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let mut params = CertificateParams::new(names)?;
    // Two authorities in one bundle are told apart by name, too.
    params.distinguished_name.push(DnType::CommonName, format!("domicile-webhook {now}"));
    (params.not_before, params.not_after) = (date(-1), date(VALID));
    Ok(params)
}

/// What a server needs to serve by it.
///
/// # Errors
/// Why it is of no use.
pub fn serving(issued: &Issued) -> Result<Arc<ServerConfig>, Error> {
    let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
    // API servers ask webhooks by nothing else (k8s.io/apiserver, pkg/util/webhook/client.go).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_can_be_served_and_is_renewed_in_time() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let names = ["domicile-webhook.domicile-system.svc".to_owned(), "127.0.0.1".to_owned()];
        let (first, second) = (issue(&names, now).unwrap(), issue(&names, now).unwrap());
        assert!(serving(&first).is_ok());
        assert_ne!(first.authority, second.authority);
        assert_eq!(first.names, names);
        assert!(first.renew_after > now && first.renew_after < after(now, VALID));
        assert!(!format!("{}{}", first.authority, first.certificate).contains("PRIVATE"));
    }

    #[test]
    fn what_does_not_belong_together_is_of_no_use() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let (first, second) = (issue(&[], now).unwrap(), issue(&[], now).unwrap());
        assert!(serving(&Issued { key: second.key, ..first.clone() }).is_err());
        assert!(serving(&Issued { key: "no key".into(), ..first.clone() }).is_err());
        assert!(serving(&Issued { certificate: "none".into(), ..first }).is_err());
    }
}
