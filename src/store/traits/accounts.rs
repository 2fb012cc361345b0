//! Which operations on accounts must an engine offer? Create, find, change, delete, list.

use std::future::Future;
use std::sync::Arc;

use crate::model::revocation::Revocation;
use crate::model::session::{EndReason, Session, SessionKey};
use crate::model::user::{HashCosts, User, UserKey};
use crate::store::StoreError;
use crate::types::ids::{SessionId, TenantId, UserId};
use crate::types::login::{LoginKind, LoginName};

/// Operations on accounts.
pub trait AccountStore: Send + Sync + 'static {
    /// Stores a new account if none of its logins is taken in its tenant.
    fn create_user(
        &self,
        user: User,
    ) -> impl Future<Output = Result<UserCreated, StoreError>> + Send;

    /// Finds an account by one of its logins.
    fn user_by_login(
        &self,
        login: &LoginKey,
    ) -> impl Future<Output = Result<Option<User>, StoreError>> + Send;

    /// The account with this key.
    fn user(&self, key: &UserKey) -> impl Future<Output = Result<Option<User>, StoreError>> + Send;

    /// A session and its account, read in one step. `None` when the session has ended or expired, or
    /// when the account does not exist.
    fn session_with_user(
        &self,
        key: &SessionKey,
    ) -> impl Future<Output = Result<Option<(Session, User)>, StoreError>> + Send;

    /// Replaces the account if its stored version is still `user.version`, and applies the effect on
    /// its sessions in the same step. The stored version is incremented.
    fn update_user(
        &self,
        user: User,
        effect: Effect,
    ) -> impl Future<Output = Result<UserUpdated, StoreError>> + Send;

    /// Deletes the account, its logins and its sessions. `None` when there was no such account.
    fn delete_user(
        &self,
        key: &UserKey,
    ) -> impl Future<Output = Result<Option<Vec<Revocation>>, StoreError>> + Send;

    /// How many accounts there are with each parameter set of password hashes, counted over durable
    /// records. Reads memory only.
    fn hash_costs(&self) -> Arc<HashCosts>;

    /// The secret under which a login without an account is assigned a parameter set. The first call
    /// stores `fresh`; every later call returns that value.
    fn decoy_key(
        &self,
        fresh: [u8; 32],
    ) -> impl Future<Output = Result<[u8; 32], StoreError>> + Send;

    /// Up to `limit` accounts of a tenant after `after`, ordered by id. For the operator.
    fn users(
        &self,
        tenant: &TenantId,
        after: Option<UserId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<User>, StoreError>> + Send;
}

/// One login name in one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoginKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The canonical name.
    pub login: LoginName,
}

/// The effect of a change of an account on its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// No effect.
    None,
    /// Their access tokens must be refreshed before they are accepted again.
    StaleClaims,
    /// All sessions end.
    EndAll(EndReason),
    /// All sessions except this one end.
    EndOthers(SessionId, EndReason),
}

/// The outcome of [`AccountStore::create_user`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserCreated {
    /// The account is stored.
    Stored,
    /// Another account has this login.
    LoginTaken(LoginKind),
}

/// The outcome of [`AccountStore::update_user`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserUpdated {
    /// The change is stored, together with these revocations.
    Stored(Vec<Revocation>),
    /// The account was changed since it was read: read it again.
    Stale,
    /// Another account has this login.
    LoginTaken(LoginKind),
    /// There is no such account.
    Gone,
}
