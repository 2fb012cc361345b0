//! Which certificate does a client get? The one for the name that it requests (RFC 6066, 3).
//!
//! The names are those in the certificates. A wildcard matches exactly one label. A client that
//! requests no name, or an unknown one, gets the first certificate and decides itself whether to accept
//! it.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Certificates by name.
#[derive(Debug)]
pub(super) struct ByName {
    names: HashMap<String, Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl ByName {
    /// The first is the default. Of two that are for the same name the earlier one is used.
    pub(super) fn new(default: Arc<CertifiedKey>, others: &[Arc<CertifiedKey>]) -> Self {
        let mut names = HashMap::new();
        for key in std::iter::once(&default).chain(others) {
            for name in key.cert.first().map(|c| names_of(c)).unwrap_or_default() {
                names.entry(name).or_insert_with(|| Arc::clone(key));
            }
        }
        Self { names, default }
    }

    fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        let by_wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.names.get(&format!("*.{parent}"))
        };
        self.names
            .get(&name)
            .or_else(by_wildcard)
            .unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = match hello.server_name() {
            Some(name) => self.find(name),
            None => &self.default,
        };
        Some(Arc::clone(found))
    }
}

/// The DNS names that a certificate is for, in lower case.
fn names_of(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let dns = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
    dns.filter(|name| !name.strip_prefix("*.").unwrap_or(name).contains('*'))
        .collect()
}

/// When a certificate expires, in seconds since 1970; none when it cannot be parsed.
pub(super) fn expires(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::PrivateKeyDer;

    fn certified(names: &[&str]) -> Arc<CertifiedKey> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let chain = vec![made.cert.der().clone()];
        Arc::new(CertifiedKey::from_der(chain, key, &crate::tls::provider()).unwrap())
    }

    #[test]
    fn a_known_name_gets_its_certificate_and_an_unknown_one_the_first() {
        let first = certified(&["a.example.org"]);
        let second = certified(&["B.example.org", "*.example.org"]);
        let third = certified(&["b.example.org", "*.*.example.com"]);
        let all = ByName::new(
            Arc::clone(&first),
            &[Arc::clone(&second), Arc::clone(&third)],
        );
        for (name, found) in [
            ("a.example.org", &first),
            ("A.Example.ORG", &first),
            ("b.example.org", &second),
            ("c.example.org", &second),
            ("example.org", &first),
            ("x.c.example.org", &first),
            ("x.y.example.com", &first),
            ("*.example.org", &second),
            ("", &first),
            (".", &first),
        ] {
            assert!(Arc::ptr_eq(all.find(name), found), "{name}");
        }
    }
}
