//! The caller's identity for the upstream: the verified claims and the headers made from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::guard::assertion::{Assertion, Assertions};
use crate::guard::denial::Denial;
use crate::guard::headers::{IdentityHeaders, TooLong, method};
use crate::model::session::{Generation, SessionKey};
use crate::model::user::AccountVersion;
use crate::service::first_sight::Stated;
use crate::tokens::AccessClaims;
use crate::types::ids::TokenId;
use crate::types::role::Roles;
use crate::types::time::Timestamp;

/// A verified caller. Made once per token and kept with it, so that a repeated token costs no
/// formatting.
#[derive(Debug)]
pub struct Identity {
    /// The user, the tenant and the session.
    pub session: SessionKey,
    /// The generation the access token was issued at.
    pub generation: Generation,
    /// The version of the account that the token states; none in tokens of earlier releases.
    pub version: Option<AccountVersion>,
    /// The access token's own id.
    pub token: TokenId,
    /// The name of the user.
    pub username: String,
    /// The e-mail address, when there is one.
    pub email: Option<String>,
    /// The roles the token carries.
    pub roles: Roles,
    /// The authentication method, for example `password`.
    pub method: String,
    /// When the user was authenticated.
    pub auth_time: Timestamp,
    /// When the access token expires.
    pub expires_at: Timestamp,
    /// The identity headers, ready to be written: each name once.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The signed assertion, if assertions are sent.
    pub assertion: Option<Box<Assertion>>,
    /// When this worker last reported that the session is active.
    pub noted: LastNoted,
}

/// The time of the last report; the epoch when there was none.
#[derive(Debug, Default)]
pub struct LastNoted(AtomicU64);

impl Identity {
    /// Whether activity is due to be reported again: at most once in `every`, per worker. `true` counts as a
    /// report.
    pub fn is_due(&self, now: Timestamp, every: Duration) -> bool {
        let LastNoted(noted) = &self.noted;
        let due = now.since(Timestamp::from_millis(noted.load(Ordering::Relaxed))) >= every;
        if due {
            noted.store(now.as_millis(), Ordering::Relaxed);
        }
        due
    }

    /// Makes sure that there is a recent assertion, if assertions are sent. Must be called before
    /// [`Identity::each_header`].
    ///
    /// # Errors
    ///
    /// A [`Denial`] if it cannot be signed: the application would take the request for an anonymous one.
    #[inline]
    pub fn assert(&self, now: Timestamp) -> Result<(), Denial> {
        match &self.assertion {
            None => Ok(()),
            Some(assertion) => assertion.renew(&self.session, &self.roles, now),
        }
    }

    /// Passes each header for the upstream: the identity headers, then the assertion.
    #[inline]
    pub fn each_header(&self, mut line: impl FnMut(&HeaderName, &HeaderValue)) {
        for (name, value) in &self.headers {
            line(name, value);
        }
        if let Some(assertion) = &self.assertion {
            assertion.write(line);
        }
    }

    /// The claims that are compared with the store.
    pub(super) fn stated(&self) -> Stated<'_> {
        Stated {
            session: &self.session,
            generation: self.generation,
            version: self.version,
            roles: &self.roles,
        }
    }

    /// The identity that a token states, with its headers rendered.
    pub(super) fn new(
        claims: AccessClaims,
        headers: &IdentityHeaders,
        assertions: Option<&Arc<Assertions>>,
    ) -> Result<Self, TooLong> {
        Ok(Self {
            headers: headers.render(&claims)?,
            method: method(&claims.amr),
            assertion: assertions.map(|all| Box::new(Assertion::new(Arc::clone(all), claims.amr))),
            session: claims.session,
            generation: claims.generation,
            version: claims.version,
            token: claims.id,
            username: claims.username,
            email: claims.email,
            roles: claims.roles,
            auth_time: claims.auth_time,
            expires_at: claims.expires_at,
            noted: LastNoted::default(),
        })
    }

    /// About how many bytes this takes.
    pub(super) fn bytes(&self) -> usize {
        let header = |(_, value): &(HeaderName, HeaderValue)| value.len() + 96;
        let headers: usize = self.headers.iter().map(header).sum();
        let roles: usize = self.roles.iter().map(|role| role.as_str().len() + 32).sum();
        let texts = self.username.len() + self.email.as_ref().map_or(0, String::len);
        let assertion = self.assertion.as_ref();
        let assertion = assertion.map_or(0, |assertion| assertion.bytes(&self.roles));
        size_of::<Self>() + headers + roles + texts + self.method.len() + assertion
    }
}
