//! Certificates and private keys from PEM files (RFC 7468).

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// The largest file that is read, in bytes. No chain, key or bundle of roots is larger.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// A file with unexpected content.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct BadFile {
    /// The file.
    pub path: PathBuf,
    /// The problem.
    pub problem: Problem,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It is larger than the limit.
    #[error("is larger than 4 MiB")]
    TooLarge,
    /// It is not PEM.
    #[error("is no PEM file: {0}")]
    Pem(pem::Error),
    /// It holds no certificate.
    #[error("holds no certificate (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// It holds no private key, or an encrypted one.
    #[error("holds no private key that is not encrypted (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
}

/// All certificates of a file, in its order: a chain or a bundle of roots.
pub fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, BadFile> {
    let bad = |problem| bad(path, problem);
    let text = read(path).map_err(bad)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(bad(Problem::NoCertificate)),
        Ok(chain) => Ok(chain),
        Err(error) => Err(bad(Problem::Pem(error))),
    }
}

/// A certificate chain and the private key of its first certificate.
pub fn chain_and_key(
    cert: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), BadFile> {
    let chain = chain(cert)?;
    let text = read(key).map_err(|problem| bad(key, problem))?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => bad(key, Problem::NoKey),
        other => bad(key, Problem::Pem(other)),
    })?;
    Ok((chain, key))
}

/// A digest of the files' content. An unreadable file counts as a distinct content.
pub(super) fn fingerprint<'a>(paths: impl Iterator<Item = &'a Path>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        let held = read(path).ok();
        held.as_ref().map(|text| text.as_slice()).hash(&mut hasher);
    }
    hasher.finish()
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut text = Zeroizing::new(Vec::new());
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(Problem::TooLarge);
    }
    Ok(text)
}

fn bad(path: &Path, problem: Problem) -> BadFile {
    BadFile {
        path: path.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_pair_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let made = rcgen::generate_simple_self_signed(["app.example.org".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let (chain, _) = chain_and_key(&cert, &key).unwrap();
        assert_eq!(chain, [made.cert.der().clone()]);
    }

    #[test]
    fn an_invalid_file_is_reported_with_the_missing_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pem");
        let told = |text: &[u8]| {
            std::fs::write(&path, text).unwrap();
            let cert = chain(&path).unwrap_err().to_string();
            cert.replace(&path.display().to_string(), "a.pem")
        };
        assert_eq!(
            told(b"hello"),
            "a.pem: holds no certificate (-----BEGIN CERTIFICATE-----)"
        );
        assert!(told(b"-----BEGIN CERTIFICATE-----\n*\n").starts_with("a.pem: is no PEM file"));
        std::fs::remove_file(&path).unwrap();
        let missing = chain(&path).unwrap_err().to_string();
        assert!(missing.contains("No such file"), "{missing}");
    }
}
