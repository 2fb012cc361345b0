//! TLS towards the upstream: the trusted roots and our own certificate.
//!
//! The upstream's certificate is always verified: against a bundle if the operator names one, else
//! against the system's roots, else against Mozilla's. The latter are part of the program because a
//! scratch image has no others.

use std::path::{Path, PathBuf};

use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::tls::files::{self, BadFile};
use crate::tls::provider;

/// The files of one configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files<'a> {
    /// The only trusted roots; the system's if absent.
    pub ca: Option<&'a Path>,
    /// The certificate chain that is presented, and its private key.
    pub identity: Option<(&'a Path, &'a Path)>,
}

impl Files<'_> {
    /// A digest of their content. It does not include the system's roots: they are many files, and
    /// change with the system.
    pub fn fingerprint(self) -> u64 {
        let identity = self.identity.into_iter();
        let pair = identity.flat_map(|(cert, key)| [cert, key]);
        files::fingerprint(self.ca.into_iter().chain(pair))
    }
}

/// Why there is no configuration. Each text names the configuration key.
#[derive(Debug, thiserror::Error)]
pub enum BadClient {
    /// The bundle of roots cannot be read.
    #[error("upstream.tls.ca: {0}")]
    Ca(#[source] BadFile),
    /// A certificate of the bundle cannot be a root.
    #[error("upstream.tls.ca: {}: holds a certificate that cannot be used: {error}", path.display())]
    Root {
        /// The bundle.
        path: PathBuf,
        /// The problem.
        #[source]
        error: rustls::Error,
    },
    /// Our certificate or its key cannot be read.
    #[error("upstream.tls.cert, upstream.tls.key: {0}")]
    Identity(#[source] BadFile),
    /// Our certificate and its key do not belong together, or are of a kind that cannot be used.
    #[error(
        "upstream.tls.cert, upstream.tls.key: {} and {} cannot be used together: {error}",
        cert.display(), key.display()
    )]
    Pair {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// The problem.
        #[source]
        error: rustls::Error,
    },
    /// The required name of the upstream's certificate is not a valid name.
    #[error("upstream.tls.server_name: {0:?} is no host name and no address")]
    Name(String),
    /// The cryptography supports neither TLS 1.2 nor 1.3. No configuration of Sidegate causes this.
    #[error("upstream.tls: {0}")]
    Versions(#[source] rustls::Error),
}

/// Reads the files and makes a configuration that resumes sessions and offers no protocols yet.
///
/// # Errors
///
/// See [`BadClient`].
pub fn config(files: Files<'_>) -> Result<ClientConfig, BadClient> {
    let roots = match files.ca {
        Some(path) => bundle(path)?,
        None => system(),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(BadClient::Versions)?
        .with_root_certificates(roots);
    match files.identity {
        Some((cert, key)) => with_identity(builder, cert, key),
        None => Ok(builder.with_no_client_auth()),
    }
}

fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    cert: &Path,
    key: &Path,
) -> Result<ClientConfig, BadClient> {
    let (chain, private) = files::chain_and_key(cert, key).map_err(BadClient::Identity)?;
    builder
        .with_client_auth_cert(chain, private)
        .map_err(|error| BadClient::Pair {
            cert: cert.to_owned(),
            key: key.to_owned(),
            error,
        })
}

/// A bundle is used as a whole: an unusable certificate in it is an error.
fn bundle(path: &Path) -> Result<RootCertStore, BadClient> {
    let mut roots = RootCertStore::empty();
    for root in files::chain(path).map_err(BadClient::Ca)? {
        roots.add(root).map_err(|error| BadClient::Root {
            path: path.to_owned(),
            error,
        })?;
    }
    Ok(roots)
}

/// The system's roots without those that cannot be used, or Mozilla's if the system has none.
fn system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// The system's roots that can be used, or none: for a library that has Mozilla's itself. Each in DER.
pub fn system_certificates() -> Vec<Vec<u8>> {
    let found = rustls_native_certs::load_native_certs().certs;
    let usable = found.into_iter().filter(|certificate| {
        let alone = RootCertStore::empty().add(certificate.clone());
        alone.is_ok()
    });
    usable.map(|certificate| certificate.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_files_the_system_roots_are_used() {
        assert!(!system().is_empty());
        assert!(config(Files::default()).is_ok());
    }

    #[test]
    fn an_invalid_file_is_reported_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let made = || rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        let empty = at("empty", "");
        let cert = at("cert", &one.cert.pem());
        let wrong = at("wrong", &other.signing_key.serialize_pem());
        let told = |files| {
            let text = config(files).unwrap_err().to_string();
            text.replace(&format!("{}/", folder.path().display()), "")
        };
        let ca = Files {
            ca: Some(&empty),
            identity: None,
        };
        assert_eq!(
            told(ca),
            "upstream.tls.ca: empty: holds no certificate (-----BEGIN CERTIFICATE-----)"
        );
        let identity = |key| Files {
            ca: Some(&cert),
            identity: Some((&*cert, key)),
        };
        assert_eq!(
            told(identity(&empty)),
            "upstream.tls.cert, upstream.tls.key: empty: holds no private key that is not encrypted \
             (-----BEGIN PRIVATE KEY-----)"
        );
        let pair = told(identity(&wrong));
        assert!(
            pair.starts_with(
                "upstream.tls.cert, upstream.tls.key: cert and wrong cannot be used together: "
            ),
            "{pair}"
        );
    }
}
