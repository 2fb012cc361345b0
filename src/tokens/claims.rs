//! What are the claims of an access token, in JSON and after verification?

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::session::{Generation, Session, SessionKey};
use crate::model::user::{AccountVersion, User, UserKey};
use crate::tokens::settings::Settings;
use crate::types::ids::TokenId;
use crate::types::role::{Role, Roles};
use crate::types::time::Timestamp;

/// The claims of a verified access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessClaims {
    /// The user and the session of the token.
    pub session: SessionKey,
    /// The generation of the session it was issued at.
    pub generation: Generation,
    /// The version of the account that its claims state; none in tokens of earlier releases.
    pub version: Option<AccountVersion>,
    /// The token's own id.
    pub id: TokenId,
    /// The name of the user.
    pub username: String,
    /// The e-mail address, when there is one that was verified.
    pub email: Option<String>,
    /// The roles.
    pub roles: Roles,
    /// The authentication methods (RFC 8176).
    pub amr: Vec<String>,
    /// When the user was authenticated.
    pub auth_time: Timestamp,
    /// When the token was issued.
    pub issued_at: Timestamp,
    /// From when the token is valid.
    pub not_before: Timestamp,
    /// When the token expires.
    pub expires_at: Timestamp,
}

/// The claims in JSON. One struct for both directions, so that reading and writing agree. Members are
/// typed, required and unique. Unknown members are skipped.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wire<'a> {
    #[serde(borrow)]
    pub(super) iss: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) sub: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) sid: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) jti: Cow<'a, str>,
    pub(super) iat: u64,
    pub(super) nbf: u64,
    pub(super) exp: u64,
    #[serde(borrow, rename = "tenantId")]
    pub(super) tenant_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) username: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) role: Cow<'a, str>,
    pub(super) roles: Vec<Role>,
    pub(super) amr: Vec<String>,
    pub(super) auth_time: u64,
    #[serde(rename = "gen")]
    pub(super) generation: u32,
    #[serde(
        rename = "ver",
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) version: Option<u32>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) aud: Option<Audience>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) email: Option<String>,
}

/// A member that may be missing, yet not `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// The claim `aud` in the two forms of RFC 7519, 4.1.3: one name as a string, several as a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    /// The form we issue; none when no audience is configured.
    pub(super) fn from_settings(names: &[String]) -> Option<Self> {
        match names {
            [] => None,
            [one] => Some(Self::One(one.clone())),
            many => Some(Self::Many(many.to_vec())),
        }
    }
}

impl<'a> Wire<'a> {
    /// The claims of a token for this session, issued at `now`, valid until `expires_at`. Times are
    /// truncated to whole seconds, so a token never expires later than intended.
    pub(super) fn new(
        settings: &'a Settings,
        session: &Session,
        user: &'a User,
        id: TokenId,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            iss: Cow::Borrowed(&settings.issuer),
            sub: Cow::Owned(session.key.owner.user.to_string()),
            sid: Cow::Owned(session.key.id.to_string()),
            jti: Cow::Owned(id.to_string()),
            iat: now.as_secs(),
            nbf: now.as_secs(),
            exp: expires_at.as_secs(),
            tenant_id: Cow::Owned(session.key.owner.tenant.to_string()),
            username: Cow::Borrowed(user.handle()),
            role: Cow::Borrowed(user.roles.first()),
            roles: user.roles.iter().cloned().collect(),
            amr: session.proof.amr.clone(),
            auth_time: session.proof.at.as_secs(),
            generation: session.generation.0,
            version: Some(user.version),
            aud: Audience::from_settings(&settings.audience),
            email: user.verified_email().map(ToString::to_string),
        }
    }

    /// The claims in domain types; `None` when a value is invalid, or when two members contradict each other.
    pub(super) fn trusted(self) -> Option<AccessClaims> {
        let count = self.roles.len();
        let roles = Roles::new(self.roles).ok()?;
        let is_consistent = roles.iter().count() == count && roles.first() == self.role;
        let is_bounded = self.amr.len() <= MAX_AMR && !self.username.contains(char::is_control);
        if !is_consistent || !is_bounded {
            return None;
        }
        Some(AccessClaims {
            session: SessionKey {
                owner: UserKey {
                    tenant: self.tenant_id.parse().ok()?,
                    user: self.sub.parse().ok()?,
                },
                id: self.sid.parse().ok()?,
            },
            generation: Generation(self.generation),
            version: self.version.map(AccountVersion),
            id: self.jti.parse().ok()?,
            username: self.username.into_owned(),
            email: self.email,
            roles,
            amr: self.amr,
            auth_time: Timestamp::from_secs(self.auth_time),
            issued_at: Timestamp::from_secs(self.iat),
            not_before: Timestamp::from_secs(self.nbf),
            expires_at: Timestamp::from_secs(self.exp),
        })
    }
}

/// The most authentication methods in one token.
const MAX_AMR: usize = 8;
