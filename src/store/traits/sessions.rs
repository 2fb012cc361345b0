//! Which operations on sessions must an engine offer? Create, rotate, list, touch, end.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use crate::crypto::digest::sha256;
use crate::model::revocation::Revocation;
use crate::model::session::{EndReason, Generation, Session, SessionKey};
use crate::model::user::UserKey;
use crate::store::StoreError;
use crate::types::ids::SessionId;

/// Operations on sessions.
pub trait SessionStore: Send + Sync + 'static {
    /// Stores a new session. In the same step it ends older sessions above the cap, clears the failed
    /// attempts of the account and records the device of the session. Refused when the account is no
    /// longer the one that `proof` was checked against, so that a log-in cannot complete after a
    /// password change or the closing of its account. A repeated call with the same session id returns
    /// the same outcome and changes nothing.
    fn create(
        &self,
        session: Session,
        cap: Cap,
        proof: Option<LoginProof>,
    ) -> impl Future<Output = Result<Created, StoreError>> + Send;

    /// Presents a refresh generation. `rules::rotation` decides, and its decision is applied in the
    /// same step, including the revocation of a reused session. The caller has checked the MAC of the
    /// token.
    fn rotate(
        &self,
        key: &SessionKey,
        presented: Generation,
        policy: RotatePolicy,
        seen: Seen,
    ) -> impl Future<Output = Result<Rotation, StoreError>> + Send;

    /// The session, unless it has ended or expired.
    fn session(
        &self,
        key: &SessionKey,
    ) -> impl Future<Output = Result<Option<Session>, StoreError>> + Send;

    /// Finds a session by the parts that a refresh token carries.
    fn session_by_route(
        &self,
        route: Route,
        id: SessionId,
    ) -> impl Future<Output = Result<Option<Session>, StoreError>> + Send;

    /// The live sessions of one user, newest first. Reflects every creation and every end that was
    /// acknowledged before the call.
    fn sessions(
        &self,
        user: &UserKey,
    ) -> impl Future<Output = Result<Vec<Session>, StoreError>> + Send;

    /// Records activity. Times only move forward. Best effort: an engine may merge or drop records of
    /// activity. An ended session stays ended.
    fn touch(
        &self,
        key: &SessionKey,
        seen: Seen,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends sessions and logs their revocation, in one step. Idempotent: sessions that have ended
    /// before are not in the answer.
    fn end(
        &self,
        scope: &Scope,
        why: EndReason,
    ) -> impl Future<Output = Result<Vec<Revocation>, StoreError>> + Send;

    /// Finds the owner of a session by the session id alone. For the operator.
    fn find_session(
        &self,
        id: SessionId,
    ) -> impl Future<Output = Result<Option<SessionKey>, StoreError>> + Send;

    /// Up to `limit` live sessions of all users after `after`, in key order. For the operator.
    fn all_sessions(
        &self,
        after: Option<SessionKey>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Session>, StoreError>> + Send;
}

/// The first 16 bytes of SHA-256 over tenant and user. A key that contains it finds the sessions of a
/// user without naming the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route(pub [u8; 16]);

impl Route {
    /// The route of a user.
    pub fn of(user: &UserKey) -> Self {
        let hash = sha256(&[user.tenant.as_str().as_bytes(), user.user.as_bytes()]);
        let mut route = [0; 16];
        for (to, from) in route.iter_mut().zip(hash) {
            *to = from;
        }
        Self(route)
    }
}

/// How many sessions one user may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// The greatest number of sessions of one user.
    pub max: u32,
    /// The effect of a log-in above that number.
    pub when_full: WhenFull,
}

/// The effect of a log-in when the user has the greatest number of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest session ends.
    EndOldest,
    /// The log-in is refused.
    Refuse,
}

/// The state of the account that a log-in was checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginProof {
    /// The version of the account whose password was compared.
    pub version: u32,
}

/// The outcome of [`SessionStore::create`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The session is stored.
    Stored {
        /// The revocations of the sessions that ended because of the cap.
        evicted: Vec<Revocation>,
    },
    /// The user has too many sessions, and the cap refuses one more.
    Full,
    /// The account was changed or deleted after the proof was checked: check again.
    AccountChanged,
    /// All sessions were ended after the id of this one was made: retry with a newer id.
    Overtaken,
}

/// The parameters of the rotation rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotatePolicy {
    /// How long after a rotation the previous generation gets the same answer again. Zero: never.
    pub grace: Duration,
    /// How far a generation may be ahead of the store after a failover lost writes.
    pub max_ahead: u32,
}

/// From where a session was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// The client address.
    pub address: Option<IpAddr>,
}

/// The outcome of [`SessionStore::rotate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// The generation was the current one. The session is now at the next.
    Rotated(Session),
    /// The generation was the previous one, within the grace. Nothing was written; this is the session
    /// as stored.
    Replayed(Session),
    /// The generation was ahead of the store, which had lost writes. The session is now one
    /// generation after it.
    Ahead {
        /// The session after the step.
        session: Session,
        /// How many generations the store had lost.
        lost: u32,
    },
    /// The generation had been used before. The session has ended.
    Reused(Revocation),
    /// The session had expired.
    Expired,
    /// There is no such session.
    Gone,
}

/// The sessions that [`SessionStore::end`] ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One session.
    One(SessionKey),
    /// All sessions of a user.
    AllOf(UserKey),
    /// All sessions of a user except this one.
    AllExcept(UserKey, SessionId),
}

impl Scope {
    /// The user whose sessions these are.
    pub fn owner(&self) -> &UserKey {
        match self {
            Self::One(key) => &key.owner,
            Self::AllOf(owner) | Self::AllExcept(owner, _) => owner,
        }
    }
}
