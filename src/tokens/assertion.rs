//! How is a caller asserted to the application? By a signed JWT for that application alone.
//!
//! Invariants: an assertion lives for at most [`ASSERTION_LIFE`], names exactly one audience, and has a type of its
//! own, so it is never accepted as an access token. A shared secret signs none, because a program that verifies with
//! it could sign access tokens, too. A key is published for at least as long as its last assertion lives.

use std::sync::Arc;

use jsonwebtoken::Header;
use serde::Serialize;

use crate::crypto::signing::BadKey;
use crate::model::session::SessionKey;
use crate::tokens::encoding::registered;
use crate::tokens::issue::IssueError;
use crate::tokens::keys::Keys;
use crate::tokens::settings::ASSERTION_LIFE;
use crate::types::ids::TokenId;
use crate::types::random::Random;
use crate::types::role::{Role, Roles};
use crate::types::time::Timestamp;

/// The header's `typ` (RFC 8725, 3.11). Access tokens have another one.
pub const TYP: &str = "sidegate-assertion+jwt";

/// Signs assertions for one application.
#[derive(Debug)]
pub struct Asserter {
    keys: Arc<Keys>,
    issuer: String,
    audience: String,
    random: Arc<dyn Random>,
}

/// The caller that an assertion is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The user, the tenant and the session.
    pub session: &'a SessionKey,
    /// The roles.
    pub roles: &'a Roles,
    /// The authentication methods (RFC 8176).
    pub amr: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Claims<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    sid: String,
    roles: Vec<&'a str>,
    amr: &'a [String],
    acr: &'static str,
    tenant_id: String,
    iat: u64,
    exp: u64,
    jti: String,
}

impl Asserter {
    /// Signs with these keys, as this issuer, for this audience.
    pub fn new(keys: Arc<Keys>, issuer: &str, audience: &str, random: Arc<dyn Random>) -> Self {
        Self {
            keys,
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            random,
        }
    }

    /// An assertion about this caller. Its times are whole seconds, so it never lives longer than [`ASSERTION_LIFE`].
    ///
    /// # Errors
    ///
    /// When no key may sign, or a shared secret signs.
    pub fn sign(&self, subject: Subject<'_>, now: Timestamp) -> Result<String, IssueError> {
        let owner = &subject.session.owner;
        let claims = Claims {
            iss: &self.issuer,
            sub: owner.user.to_string(),
            aud: &self.audience,
            sid: subject.session.id.to_string(),
            roles: subject.roles.iter().map(Role::as_str).collect(),
            amr: subject.amr,
            acr: acr(subject.amr),
            tenant_id: owner.tenant.to_string(),
            iat: now.as_secs(),
            exp: now.as_secs() + ASSERTION_LIFE.as_secs(),
            jti: TokenId::generate(now, &*self.random).to_string(),
        };
        let ring = self.keys.ring();
        let key = ring.signer(now).ok_or(IssueError::NoKey)?;
        let mut header = Header::new(registered(key.algorithm()));
        header.typ = Some(TYP.to_owned());
        header.kid = Some(key.id().to_owned());
        jsonwebtoken::encode(&header, &claims, key.encoding()?).map_err(|_| BadKey.into())
    }
}

/// The level of the authentication: `aal2` when there was a second factor.
fn acr(amr: &[String]) -> &'static str {
    if amr.iter().any(|method| method == "mfa") {
        "aal2"
    } else {
        "aal1"
    }
}
