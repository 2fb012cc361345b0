//! Is this access token valid? The one function that verifies every token, whatever its source.
//!
//! The order is fixed: length, shape, header, key, signature, claims, time. Nothing is decoded before the
//! length is checked, and no claim is read before the signature is verified. The token never selects an
//! algorithm: its key id names one of our keys, and that key has one.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use crate::tokens::claims::{AccessClaims, Audience, Wire};
use crate::tokens::keys::{Keys, Ring, RingKey, TYP};
use crate::tokens::settings::Settings;
use crate::types::time::Timestamp;

/// Verifies access tokens.
#[derive(Debug)]
pub struct Verifier {
    keys: Arc<Keys>,
    issuer: String,
    audience: Option<Audience>,
    leeway: Duration,
    longest_life: Duration,
}

impl Verifier {
    /// The maximum length of a token in bytes.
    pub const MAX_TOKEN: usize = 8 * 1024;

    /// The maximum leeway, whatever the settings.
    pub const MAX_LEEWAY: Duration = Duration::from_secs(30);

    /// A verifier for these settings.
    pub fn new(keys: Arc<Keys>, settings: &Settings) -> Self {
        Self {
            keys,
            issuer: settings.issuer.clone(),
            audience: Audience::from_settings(&settings.audience),
            leeway: settings.leeway.min(Self::MAX_LEEWAY),
            longest_life: settings.access_ttl,
        }
    }

    /// Verifies a token at `now`.
    pub fn verify(&self, token: &[u8], now: Timestamp) -> Result<Verified, Refusal> {
        let parts = Parts::split(token)?;
        let ring = self.keys.ring();
        let key = find_key(&ring, parts.header, now)?;
        let signature = decode(parts.signature)?;
        if !key.verify(parts.signed, &signature) {
            return Err(Refusal::Signature);
        }
        let claims = decode(parts.claims)?;
        Ok(Verified {
            claims: self.check_claims(&claims, now)?,
            epoch: ring.epoch(),
        })
    }

    /// Counts the changes of the keys. A [`Verified`] of another epoch has to be verified again.
    pub fn epoch(&self) -> u64 {
        self.keys.epoch()
    }

    /// Checks the times of a token that was verified before.
    pub fn check_time(
        &self,
        not_before: Timestamp,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if now.plus(self.leeway) < not_before {
            return Err(Refusal::NotYet);
        }
        if now >= expires_at.plus(self.leeway) {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    fn check_claims(&self, claims: &[u8], now: Timestamp) -> Result<AccessClaims, Refusal> {
        let wire: Wire<'_> = serde_json::from_slice(claims).map_err(|_| Refusal::Claims)?;
        if wire.iss != self.issuer {
            return Err(Refusal::Issuer);
        }
        if wire.aud != self.audience {
            return Err(Refusal::Audience);
        }
        let claims = wire.trusted().ok_or(Refusal::Claims)?;
        let (issued, expires) = (claims.issued_at, claims.expires_at);
        // Both ends are cut to whole seconds, so a life can seem a second longer than it is.
        let longest = issued.plus(self.longest_life).plus(Duration::from_secs(1));
        if expires < issued || expires > longest {
            return Err(Refusal::Lifetime);
        }
        if now.plus(self.leeway) < issued {
            return Err(Refusal::NotYet);
        }
        self.check_time(claims.not_before, expires, now)?;
        Ok(claims)
    }
}

/// A valid token, and the state of the keys that verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The claims.
    pub claims: AccessClaims,
    /// The epoch of the keys.
    pub epoch: u64,
}

/// The three parts of a compact serialisation (RFC 7515, 3.1).
pub(super) struct Parts<'a> {
    pub(super) header: &'a [u8],
    pub(super) claims: &'a [u8],
    pub(super) signature: &'a [u8],
    pub(super) signed: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn split(token: &'a [u8]) -> Result<Self, Refusal> {
        if token.len() > Verifier::MAX_TOKEN {
            return Err(Refusal::TooLong);
        }
        let mut parts = token.splitn(4, |byte| *byte == b'.');
        let three = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(header), Some(claims), Some(signature), None) = three else {
            return Err(Refusal::Malformed);
        };
        let is_sound = |part: &[u8]| !part.is_empty() && is_base64url(part);
        if ![header, claims, signature].into_iter().all(is_sound) {
            return Err(Refusal::Malformed);
        }
        let length = header.len() + 1 + claims.len();
        Ok(Self {
            header,
            claims,
            signature,
            signed: token.get(..length).ok_or(Refusal::Malformed)?,
        })
    }
}

/// Whether all bytes are in the alphabet. The loop does not stop early, so the compiler can check many
/// bytes at once.
fn is_base64url(part: &[u8]) -> bool {
    let plain =
        |b: u8| (b | 0x20).is_ascii_lowercase() | b.is_ascii_digit() | matches!(b, b'-' | b'_');
    part.iter().fold(true, |all, byte| all & plain(*byte))
}

/// Decodes base64url without padding; a spelling with non-zero trailing bits is refused.
pub(super) fn decode(part: &[u8]) -> Result<Vec<u8>, Refusal> {
    BASE64URL_NOPAD.decode(part).map_err(|_| Refusal::Malformed)
}

/// The header, which must have exactly these three members, without escapes. A token with `crit`, `jku`, `jwk`,
/// `x5u`, `zip` or any other member is refused, because it could change the meaning.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

fn find_key<'a>(ring: &'a Ring, header: &[u8], now: Timestamp) -> Result<&'a RingKey, Refusal> {
    let key = match ring.by_header(header) {
        Some(key) => Ok(key),
        None => read_header(ring, header),
    }?;
    if key.validity().is_alive(now) {
        Ok(key)
    } else {
        Err(Refusal::Key)
    }
}

/// The key that a header names, if the header has our members in another order or with other spacing.
fn read_header<'a>(ring: &'a Ring, header: &[u8]) -> Result<&'a RingKey, Refusal> {
    let json = decode(header)?;
    let header: Header<'_> = serde_json::from_slice(&json).map_err(|_| Refusal::Header)?;
    let key = ring.by_id(header.kid).ok_or(Refusal::Key)?;
    if header.typ != TYP || header.alg != key.algorithm().as_str() {
        return Err(Refusal::Header);
    }
    Ok(key)
}

/// Why a token is refused, for logs and metrics. A caller learns only whether it expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Longer than [`Verifier::MAX_TOKEN`].
    #[error("the token is too long")]
    TooLong,
    /// Not three parts of base64url.
    #[error("the token is malformed")]
    Malformed,
    /// The header is not the one we write.
    #[error("the header is not ours")]
    Header,
    /// None of our keys has this id.
    #[error("the key is not known")]
    Key,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Signature,
    /// A claim is missing, repeated, of the wrong type, or contradicts another one.
    #[error("a claim is missing or invalid")]
    Claims,
    /// Another issuer.
    #[error("the token has another issuer")]
    Issuer,
    /// Another audience.
    #[error("the token has another audience")]
    Audience,
    /// It states a longer life than any issued token has.
    #[error("the lifetime is longer than that of any issued token")]
    Lifetime,
    /// Not valid yet.
    #[error("the token is not valid yet")]
    NotYet,
    /// It has expired, and is otherwise valid.
    #[error("the token has expired")]
    Expired,
}

impl Refusal {
    /// The word used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Lifetime => "lifetime",
            Self::NotYet => "not_yet",
            Self::Expired => "expired",
        }
    }
}
