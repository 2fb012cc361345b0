//! How is an access token issued?

use std::sync::Arc;

use crate::crypto::signing::BadKey;
use crate::model::session::Session;
use crate::model::user::User;
use crate::rules::session::token_expiry;
use crate::tokens::claims::Wire;
use crate::tokens::keys::Keys;
use crate::tokens::settings::Settings;
use crate::types::ids::TokenId;
use crate::types::random::Random;
use crate::types::secret::SecretText;
use crate::types::time::Timestamp;

/// Issues access tokens with the key that signs at present.
#[derive(Debug, Clone)]
pub struct Issuer {
    keys: Arc<Keys>,
    settings: Settings,
    random: Arc<dyn Random>,
}

impl Issuer {
    /// An issuer for these settings.
    pub fn new(keys: Arc<Keys>, settings: Settings, random: Arc<dyn Random>) -> Self {
        Self {
            keys,
            settings,
            random,
        }
    }

    /// A token for the current state of the session, and its expiry, which is never after that of
    /// the session.
    pub fn issue(
        &self,
        session: &Session,
        user: &User,
        now: Timestamp,
    ) -> Result<(SecretText, Timestamp), IssueError> {
        let expires_at = token_expiry(session, self.settings.access_ttl, now);
        let id = TokenId::generate(now, &*self.random);
        let claims = Wire::new(&self.settings, session, user, id, now, expires_at);
        let json = serde_json::to_vec(&claims).map_err(|_| IssueError::Claims)?;
        let ring = self.keys.ring();
        let key = ring.signer(now).ok_or(IssueError::NoKey)?;
        let token = key.sign(&json)?;
        Ok((SecretText::new(token), Timestamp::from_secs(claims.exp)))
    }
}

/// Why no token was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// No key may sign at this moment.
    #[error("no key may sign at this moment")]
    NoKey,
    /// The claims could not be written.
    #[error("the claims could not be written")]
    Claims,
    /// The key failed.
    #[error(transparent)]
    Key(#[from] BadKey),
}
