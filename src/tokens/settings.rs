//! Settings for issuing and verifying access tokens.

use std::path::PathBuf;
use std::time::Duration;

use crate::types::secret::SecretBytes;

/// The life of an assertion for the application.
pub const ASSERTION_LIFE: Duration = Duration::from_secs(60);

/// Issuer, audience, algorithm, keys and lifetimes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `aud`; no entry = no such claim.
    pub audience: Vec<String>,
    /// The one algorithm that is signed with and accepted.
    pub algorithm: Algorithm,
    /// The directory of the keys. It has the keys of the refresh MAC for every algorithm.
    pub keys_dir: PathBuf,
    /// The shared secret; HS256 only.
    pub secret: Option<SecretBytes>,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// The tolerated clock difference for `exp`, `nbf` and `iat`.
    pub leeway: Duration,
}

/// A signature algorithm (RFC 7518, 3.1; RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the registered ones")]
pub enum Algorithm {
    EdDSA,
    ES256,
    RS256,
    HS256,
}

impl Algorithm {
    /// The registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDSA => "EdDSA",
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
            Self::HS256 => "HS256",
        }
    }
}
