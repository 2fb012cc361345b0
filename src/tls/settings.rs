//! TLS settings of the public listener.

use std::path::{Path, PathBuf};

/// Certificates and clients' certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// At least one; the first is for names that no other one is for.
    pub pairs: Vec<Pair>,
    /// Whether clients have certificates.
    pub client_auth: ClientAuth,
}

/// A certificate chain and its key, in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Whether clients need a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is requested.
    Off,
    /// A certificate is requested. A client without one is accepted; one with an invalid
    /// certificate is not.
    Optional {
        /// The file of the authorities of accepted certificates.
        ca: PathBuf,
    },
    /// A client without a valid certificate is refused.
    Required {
        /// The file of the authorities of accepted certificates.
        ca: PathBuf,
    },
}

impl ClientAuth {
    /// The file of authorities.
    pub fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::Off => None,
            Self::Optional { ca } | Self::Required { ca } => Some(ca),
        }
    }
}

impl Settings {
    /// Every file that is read, in a fixed order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.pairs.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        pairs.chain(self.client_auth.ca()).map(PathBuf::as_path)
    }
}
