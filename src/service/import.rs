//! How are accounts of another system added, with their password hashes?
//!
//! An existing account is never changed, so an import that was interrupted can be repeated. At the first log-in
//! the hash is replaced by one of our own: `login` does this for every outdated hash.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::crypto::password::BadHash;
use crate::model::audit::AuditAction;
use crate::model::user::{User, UserKey, UserStatus, VerifiedAddresses};
use crate::rules::names::{BadName, check_safe};
use crate::service::Service;
use crate::service::audit::Entry;
use crate::service::error::AuthError;
use crate::store::{AccountStore as _, AnyStore, LoginKey, StoreError, UserCreated};
use crate::types::ids::{TenantId, UserId};
use crate::types::login::{LoginKind, LoginName};
use crate::types::role::Roles;
use crate::types::secret::SecretText;

/// An account of another system. It has at least one login name.
#[derive(Debug, Clone)]
pub struct ForeignAccount {
    /// The chosen name.
    pub username: Option<LoginName>,
    /// E-mail address. It counts as verified, as every address that an operator enters.
    pub email: Option<LoginName>,
    /// Mobile number. It counts as verified.
    pub mobile: Option<LoginName>,
    /// The name of the user.
    pub name: Option<String>,
    /// Roles.
    pub roles: Roles,
    /// The password hash in the notation of the other system.
    pub password_hash: SecretText,
}

/// The outcome for one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It was added. If nothing is to be written: it can be added.
    Added,
    /// There is an account with this username; without a username, with this address. It was not changed.
    Exists,
    /// It was not added.
    Refused(ImportRefusal),
}

/// Why an account was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImportRefusal {
    /// It has no login name.
    #[error("neither username nor email nor mobile")]
    NoLogin,
    /// No account may have this username.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The password hash cannot be used.
    #[error(transparent)]
    Hash(#[from] BadHash),
    /// The store has hashes with so many different parameters that this one could not be counted. Then the time
    /// of a log-in would reveal which names exist.
    #[error("there are hashes with too many different parameters already")]
    HashVariety,
    /// Another account has this login name.
    #[error("another account has this {0}")]
    Taken(LoginKind),
}

impl Service {
    /// Adds accounts, or only checks them. The outcomes are in the order of the accounts.
    ///
    /// # Errors
    /// When the store fails. Some of the accounts may then be stored; a repetition skips them.
    pub async fn operator_import(
        &self,
        accounts: Vec<ForeignAccount>,
        dry_run: bool,
    ) -> Result<Vec<Imported>, AuthError> {
        let mut costs = (*self.parts.store.hash_costs()).clone();
        let mut outcomes = Vec::with_capacity(accounts.len());
        let mut steps = JoinSet::new();
        for (index, account) in accounts.into_iter().enumerate() {
            match self.adopted(account) {
                Ok(user) if !costs.counts(&user.password.cost()) => {
                    outcomes.push(Imported::Refused(ImportRefusal::HashVariety));
                }
                Ok(user) => {
                    costs.add(user.password.cost());
                    outcomes.push(Imported::Exists);
                    let store = Arc::clone(&self.parts.store);
                    // The store makes the accounts of one call durable together.
                    steps.spawn(async move { (index, import(&store, user, dry_run).await) });
                }
                Err(refusal) => outcomes.push(Imported::Refused(refusal)),
            }
        }
        let mut failed = None;
        while let Some(done) = steps.join_next().await {
            let (index, outcome) = done.map_err(|error| AuthError::Internal(error.to_string()))?;
            match outcome {
                Ok(outcome) => {
                    if let Some(at) = outcomes.get_mut(index) {
                        *at = outcome;
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(outcomes),
        }
    }

    /// Writes the audit record of the beginning or the end of an import.
    pub fn operator_import_mark(&self, outcome: &str) {
        let entry = Entry::by_operator(self.now(), AuditAction::AccountsImport, outcome);
        self.parts.audit.record(entry.done());
    }

    fn adopted(&self, account: ForeignAccount) -> Result<User, ImportRefusal> {
        if let Some(username) = &account.username {
            check_safe(username)?;
        }
        let password = self.parts.passwords.adopt(account.password_hash.expose())?;
        let now = self.now();
        let user = User {
            key: UserKey {
                tenant: TenantId::default(),
                user: UserId::generate(now, &*self.parts.random),
            },
            username: account.username,
            email: account.email,
            mobile: account.mobile,
            verified: VerifiedAddresses::ALL,
            name: account.name,
            roles: account.roles,
            password,
            status: UserStatus::Enabled,
            created_at: now,
            updated_at: now,
            version: 0,
        };
        if user.logins().next().is_none() {
            return Err(ImportRefusal::NoLogin);
        }
        Ok(user)
    }
}

/// One account. The first of its login names tells whether it exists already.
async fn import(store: &AnyStore, user: User, dry_run: bool) -> Result<Imported, StoreError> {
    let tenant = user.key.tenant.clone();
    let logins: Vec<LoginName> = user.logins().cloned().collect();
    let mut logins = logins.into_iter().map(|login| LoginKey {
        tenant: tenant.clone(),
        login,
    });
    let first = logins.next();
    let first_kind = first.as_ref().map(|key| key.login.kind());
    if let Some(key) = first
        && repeated(|| store.user_by_login(&key)).await?.is_some()
    {
        return Ok(Imported::Exists);
    }
    if dry_run {
        for key in logins {
            if repeated(|| store.user_by_login(&key)).await?.is_some() {
                return Ok(Imported::Refused(ImportRefusal::Taken(key.login.kind())));
            }
        }
        return Ok(Imported::Added);
    }
    // A repetition of a step that was applied has the same outcome, because the id is the same.
    Ok(match repeated(|| store.create_user(user.clone())).await? {
        UserCreated::Stored => Imported::Added,
        // Created since the look-up above.
        UserCreated::LoginTaken(kind) if Some(kind) == first_kind => Imported::Exists,
        UserCreated::LoginTaken(kind) => Imported::Refused(ImportRefusal::Taken(kind)),
    })
}

/// Repeats an operation that had no answer in time: an import keeps the disk busy for minutes.
async fn repeated<T, F>(mut operation: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 1..TRIES {
        match operation().await {
            Err(StoreError::Indeterminate) => {}
            outcome => return outcome,
        }
    }
    operation().await
}

/// How often an operation is tried.
const TRIES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome of an operation that fails this often, and how often it was tried.
    fn tried(failures: usize, error: &StoreError) -> (Result<(), StoreError>, usize) {
        let mut calls = 0;
        let outcome = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(repeated(|| {
                calls += 1;
                let is_over = calls > failures;
                let error = error.clone();
                async move { if is_over { Ok(()) } else { Err(error) } }
            }));
        (outcome, calls)
    }

    #[test]
    fn a_late_answer_is_waited_for_again_and_no_other_failure() {
        let late = StoreError::Indeterminate;
        assert_eq!(tried(0, &late), (Ok(()), 1));
        assert_eq!(tried(4, &late), (Ok(()), 5));
        assert_eq!(tried(9, &late), (Err(late), 5));
        let damaged = StoreError::Corrupt("x".to_owned());
        assert_eq!(tried(1, &damaged), (Err(damaged), 1));
    }
}
