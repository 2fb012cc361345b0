//! What access tokens are made and judged by.

use std::path::PathBuf;
use std::time::Duration;

use crate::types::secret::SecretBytes;

/// Issuer, audience, algorithm, lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `aud`; no entry = no such claim.
    pub audience: Vec<String>,
    /// The one algorithm that is signed with and accepted.
    pub algorithm: Algorithm,
    /// Where keys live. The refresh MAC's keys live here for every algorithm.
    pub keys_dir: PathBuf,
    /// The shared secret; HS256 only.
    pub secret: Option<SecretBytes>,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// How far clocks may differ when `exp`, `nbf` and `iat` are judged.
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
