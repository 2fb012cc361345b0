//! Where is a session created, and the tokens for it? Here only.

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

/// How often a log-in gets a new id when all sessions are ended during it.
const ATTEMPTS: usize = 3;

/// The id by which a device is stored and listed. The id that the client holds lets a known device pass
/// a lock, so it is a credential and never shown: this id is derived from it.
pub(super) fn device_name(cookie: DeviceId) -> DeviceId {
    let hash = digest::sha256(&[b"sg-device", cookie.as_bytes()]);
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().zip(hash) {
        *to = from;
    }
    DeviceId::from_bytes(name)
}

/// The result of a log-in or refresh.
#[derive(Debug)]
pub struct Grant {
    /// The session as stored.
    pub session: Session,
    /// The user as stored.
    pub user: User,
    /// The access token.
    pub access: SecretText,
    /// When the access token expires.
    pub access_expires_at: Timestamp,
    /// The refresh token.
    pub refresh: SecretText,
}

/// The properties of a new session, in addition to the user.
pub(super) struct Opening<'a> {
    /// How the user was authenticated.
    pub(super) proof: Proof,
    /// Whether the log-in asked for a long session.
    pub(super) remember: bool,
    /// The name that the user gave to the device.
    pub(super) device_label: Option<String>,
    /// The client.
    pub(super) caller: &'a Caller,
}

impl Service {
    /// Creates a session for a user who has passed every factor that the account requires. `None` when
    /// the account was changed in between: the factors must be checked again.
    ///
    /// If the future is dropped, there is either no session, or one without any token.
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
                // An operator ended all sessions at this moment. This session began afterwards.
                Created::Overtaken => session.key.id = self.fresh_session_id(),
            }
        }
        Err(AuthError::Internal(
            "all sessions were ended several times during the log-in; try again".to_owned(),
        ))
    }

    /// An id that is newer than every session that ended with all others.
    fn fresh_session_id(&self) -> SessionId {
        let made_at = self.parts.liveness.first_free(self.now());
        SessionId::generate(made_at, &*self.parts.random)
    }

    /// The tokens of a session in its present state. The refresh token is deterministic: a repeated
    /// refresh derives the same successor.
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
