//! The one place that makes a session, and the tokens that go with it.

use crate::crypto::digest;
use crate::model::session::{EndReason, Generation, Proof, Session, SessionKey};
use crate::model::user::User;
use crate::rules::session as session_rules;
use crate::service::Service;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::service::logout::By;
use crate::store::{Created, LoginProof, Route, SessionStore as _};
use crate::types::device::Device;
use crate::types::ids::{DeviceId, SessionId};
use crate::types::secret::SecretText;
use crate::types::time::Timestamp;

/// How often a log-in gets another id when all sessions are ended while it is under way.
const ATTEMPTS: usize = 3;

/// The id a device is remembered and listed by. The id that the client holds lets a known device
/// through a
/// lock, so it is a credential and nothing shows it: this one is derived from it.
pub(super) fn device_name(cookie: DeviceId) -> DeviceId {
    let hash = digest::sha256(&[b"sg-device", cookie.as_bytes()]);
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().zip(hash) {
        *to = from;
    }
    DeviceId::from_bytes(name)
}

/// What a successful log-in or refresh gives.
#[derive(Debug)]
pub struct Grant {
    /// The session as stored.
    pub session: Session,
    /// Its user as stored.
    pub user: User,
    /// The access token.
    pub access: SecretText,
    /// When the access token expires.
    pub access_expires_at: Timestamp,
    /// The refresh token.
    pub refresh: SecretText,
}

/// What a new session is made from, beside the user.
pub(super) struct Opening<'a> {
    /// How the user proved who they are.
    pub(super) proof: Proof,
    /// Whether the log-in asked to be remembered.
    pub(super) remember: bool,
    /// What the user calls the device.
    pub(super) device_label: Option<String>,
    /// The client.
    pub(super) caller: &'a Caller,
}

impl Service {
    /// Makes a session for a user who has shown every factor the account requires. `None` when the
    /// account changed since: what was shown has to be checked again.
    ///
    /// Dropping the future leaves either no session or one that nobody holds a token of.
    pub(super) async fn open_session(
        &self,
        user: User,
        opening: Opening<'_>,
    ) -> Result<Option<Grant>, AuthError> {
        let now = self.now();
        let settings = &self.parts.settings;
        let span = session_rules::span(settings.sessions, opening.remember, now);
        let mut session = Session {
            key: SessionKey {
                owner: user.key.clone(),
                id: self.fresh_session_id(),
            },
            generation: Generation::default(),
            salt: self.parts.random.bytes(),
            rotated_at: now,
            created_at: now,
            last_active_at: now,
            expires_at: span.expires_at,
            idle_expires_at: span.idle_expires_at,
            idle_limit: span.idle_limit,
            remembered: opening.remember,
            proof: opening.proof,
            device_id: opening.caller.device.map(device_name),
            device_label: opening.device_label,
            device: Device::from_user_agent(&opening.caller.agent),
            first_address: opening.caller.address,
            last_address: opening.caller.address,
        };
        let proof = LoginProof {
            version: user.version,
        };
        let cap = self.parts.settings.cap;
        for _ in 0..ATTEMPTS {
            let (draft, proof) = (session.clone(), Some(proof));
            match self.parts.store.create(draft, cap, proof).await? {
                Created::Stored { evicted } => {
                    let by = By::Caller(opening.caller);
                    self.note_ends(&user.key, &evicted, EndReason::Evicted, by);
                    return self.tokens(session, user).map(Some);
                }
                Created::Full => return Err(AuthError::TooManySessions),
                Created::AccountChanged => return Ok(None),
                // An operator ended all sessions at this very moment. This one began afterwards.
                Created::Overtaken => session.key.id = self.fresh_session_id(),
            }
        }
        Err(AuthError::Internal(
            "all sessions are being ended again and again; try again".to_owned(),
        ))
    }

    /// An id that is newer than every session that was ended with all others.
    fn fresh_session_id(&self) -> SessionId {
        let made_at = self.parts.liveness.first_free(self.now());
        SessionId::generate(made_at, &*self.parts.random)
    }

    /// The tokens of a session as it stands. Deterministic in the refresh token: a repeated refresh
    /// derives the same successor.
    pub(super) fn tokens(&self, session: Session, user: User) -> Result<Grant, AuthError> {
        let (access, access_expires_at) = self
            .parts
            .issuer
            .issue(&session, &user, self.now())
            .map_err(|error| AuthError::Internal(error.to_string()))?;
        let route = Route::of(&session.key.owner).0;
        let refresh = self.parts.keys.refresh().issue(&session, route);
        Ok(Grant {
            session,
            user,
            access,
            access_expires_at,
            refresh,
        })
    }
}
