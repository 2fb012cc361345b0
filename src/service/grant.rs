//! The one place that makes a session, and the tokens that go with it.

use crate::model::audit::AuditAction;
use crate::model::revocation::Revocation;
use crate::model::session::{EndReason, Generation, Proof, Session, SessionKey};
use crate::model::user::{User, UserKey};
use crate::rules::session as session_rules;
use crate::service::Service;
use crate::service::audit::Entry;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::store::{AccountStore as _, Created, LoginKey, LoginProof, Route, SessionStore as _};
use crate::telemetry::metrics::Event;
use crate::types::device::Device;
use crate::types::ids::SessionId;
use crate::types::secret::SecretText;
use crate::types::time::Timestamp;

/// How often a session is tried again when the account changed in between.
const RETRIES: usize = 5;

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
    /// The login whose password was shown; this success forgets its failures.
    pub(super) login: LoginKey,
}

impl Service {
    /// Makes a session for a user who has shown every factor the account requires.
    ///
    /// Dropping the future leaves either no session or one that nobody holds a token of.
    pub(super) async fn open_session(
        &self,
        user: User,
        opening: Opening<'_>,
    ) -> Result<Grant, AuthError> {
        let now = self.now();
        let settings = &self.parts.settings;
        let span = session_rules::span(settings.sessions, opening.remember, now);
        let session = Session {
            key: SessionKey {
                owner: user.key.clone(),
                id: SessionId::generate(now, &*self.parts.random),
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
            device_id: opening.caller.device,
            device_label: opening.device_label,
            device: Device::from_user_agent(&opening.caller.agent),
            first_address: opening.caller.address,
            last_address: opening.caller.address,
        };
        let user = self
            .store_session(&session, user, opening.login, opening.caller)
            .await?;
        self.tokens(session, user)
    }

    /// Stores a session for the account as it was checked. If it changed meanwhile, the proof
    /// still holds as long as password and status are the same; else a log-in under way must not
    /// overtake the change.
    async fn store_session(
        &self,
        session: &Session,
        checked: User,
        login: LoginKey,
        caller: &Caller,
    ) -> Result<User, AuthError> {
        let cap = self.parts.settings.cap;
        let mut user = checked;
        for _ in 0..RETRIES {
            let proof = LoginProof {
                login: login.clone(),
                version: user.version,
            };
            match self
                .parts
                .store
                .create(session.clone(), cap, Some(proof))
                .await?
            {
                Created::Stored { evicted } => {
                    self.note_evicted(&user.key, &evicted, caller);
                    return Ok(user);
                }
                Created::Full => return Err(AuthError::TooManySessions),
                Created::AccountChanged => {}
            }
            let found = self.parts.store.user(&user.key).await?;
            let same = |now: &User| now.password == user.password && now.status == user.status;
            user = found.filter(same).ok_or(AuthError::InvalidCredentials)?;
        }
        Err(AuthError::Internal("the account kept changing".to_owned()))
    }

    /// The sessions that had to make room ended like any other.
    fn note_evicted(&self, owner: &UserKey, evicted: &[Revocation], caller: &Caller) {
        let count = evicted.len() as u64;
        self.parts.events.add(Event::SessionEnded, count);
        for revocation in evicted {
            let key = SessionKey {
                owner: owner.clone(),
                id: revocation.session,
            };
            let why = EndReason::Evicted.as_str();
            let entry = Entry::by_caller(self.now(), AuditAction::SessionEnd, why, caller);
            self.parts.audit.record(entry.of(&key).done());
        }
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
