//! What can an operator do with an account? Add, find, change, unlock, delete.
//!
//! A change and its effect on the sessions of the account are one atomic step.

use std::time::Duration;

use crate::audit::Query;
use crate::model::audit::{AuditAction, AuditRecord};
use crate::model::session::EndReason;
use crate::model::user::{User, UserKey, UserStatus, VerifiedAddresses};
use crate::service::Service;
use crate::service::audit::Entry;
use crate::service::error::AuthError;
use crate::service::logout::By;
use crate::service::mail::Changer;
use crate::service::password::Share;
use crate::service::signup::SignupRequest;
use crate::store::{AccountStore as _, Effect, LockoutStore as _, LoginKey, Target, UserUpdated};
use crate::types::ids::{TenantId, UserId};
use crate::types::role::Roles;
use crate::types::secret::Password;
use crate::types::time::Timestamp;

pub use crate::types::named::Named;

/// How often a change is repeated when the account was changed in between.
const RETRIES: usize = 5;

impl Service {
    /// Adds an account, whatever the sign-up mode.
    pub async fn operator_add(
        &self,
        request: SignupRequest,
        roles: Roles,
    ) -> Result<User, AuthError> {
        let (verified, share) = (VerifiedAddresses::ALL, Share::OPERATOR);
        let user = self.add_user(request, roles, verified, share).await?;
        self.note(AuditAction::SignUp, "created", &user.key);
        Ok(user)
    }

    /// Finds an account.
    pub async fn operator_find(&self, named: &Named) -> Result<Option<User>, AuthError> {
        let tenant = TenantId::default();
        Ok(match named {
            Named::Id(user) => {
                self.parts
                    .store
                    .user(&UserKey {
                        tenant,
                        user: *user,
                    })
                    .await?
            }
            Named::Login(login) => {
                let key = LoginKey {
                    tenant,
                    login: login.clone(),
                };
                self.parts.store.user_by_login(&key).await?
            }
        })
    }

    /// Up to `limit` accounts after `after`.
    pub async fn operator_users(
        &self,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<User>, AuthError> {
        Ok(self
            .parts
            .store
            .users(&TenantId::default(), after, limit)
            .await?)
    }

    /// Sets a password. All sessions of the account end, and its owner gets a mail. `None` when there is no such account.
    pub async fn operator_set_password(
        &self,
        named: &Named,
        password: Password,
    ) -> Result<Option<User>, AuthError> {
        let Some(user) = self.operator_find(named).await? else {
            return Ok(None);
        };
        self.check_new_password(&password, user.logins())?;
        let hash = self.parts.passwords.hash(password, Share::OPERATOR).await?;
        let effect = Effect::EndAll(EndReason::PasswordChanged);
        let change = |user: User| User {
            password: hash.clone(),
            ..user
        };
        self.change(named, change, effect, AuditAction::PasswordChange, "set")
            .await
    }

    /// Sets the roles. Access tokens with the old roles must be refreshed before they are accepted again.
    pub async fn operator_set_roles(
        &self,
        named: &Named,
        roles: Roles,
    ) -> Result<Option<User>, AuthError> {
        let outcome = roles.joined();
        let change = |user: User| User {
            roles: roles.clone(),
            ..user
        };
        self.change(
            named,
            change,
            Effect::StaleClaims,
            AuditAction::RolesChange,
            &outcome,
        )
        .await
    }

    /// Enables an account.
    pub async fn operator_enable(&self, named: &Named) -> Result<Option<User>, AuthError> {
        let change = |user: User| User {
            status: UserStatus::Enabled,
            ..user
        };
        self.change(
            named,
            change,
            Effect::None,
            AuditAction::AccountEnable,
            "enabled",
        )
        .await
    }

    /// Disables an account. Its sessions end.
    pub async fn operator_disable(&self, named: &Named) -> Result<Option<User>, AuthError> {
        let change = |user: User| User {
            status: UserStatus::Disabled,
            ..user
        };
        let effect = Effect::EndAll(EndReason::AccountClosed);
        self.change(
            named,
            change,
            effect,
            AuditAction::AccountDisable,
            "disabled",
        )
        .await
    }

    /// Unlocks an account. `None` when there is no such account; otherwise whether there were failures to
    /// clear.
    pub async fn operator_unlock(&self, named: &Named) -> Result<Option<bool>, AuthError> {
        let Some(user) = self.operator_find(named).await? else {
            return Ok(None);
        };
        let target = Target::Account(user.key.clone());
        let any = self.parts.store.unlock(&target).await?;
        self.note(AuditAction::Unlock, "unlocked", &user.key);
        Ok(Some(any))
    }

    /// The end of the lock of an account, if it is locked.
    pub async fn operator_locked_until(&self, user: &User) -> Result<Option<Timestamp>, AuthError> {
        let target = Target::Account(user.key.clone());
        let standing = self.parts.store.standing(&target, None).await?;
        let lockout = standing.account;
        Ok(lockout
            .is_locked(self.now())
            .then_some(lockout.locked_until))
    }

    /// Marks the addresses of an account as verified: the operator has confirmed that they belong to the
    /// person. The next access tokens contain the e-mail address.
    pub async fn operator_verify(&self, named: &Named) -> Result<Option<User>, AuthError> {
        let change = |user: User| User {
            verified: VerifiedAddresses::ALL,
            ..user
        };
        let (effect, action) = (Effect::StaleClaims, AuditAction::AddressesVerify);
        self.change(named, change, effect, action, "verified").await
    }

    /// Creates a new signing key, which is used at once. The old key verifies until its last token has
    /// expired.
    pub fn operator_rotate_keys(&self) -> Result<(), AuthError> {
        let rotated = self
            .parts
            .keys
            .rotate(self.now(), Duration::ZERO, &*self.parts.random);
        let id = rotated.map_err(|error| AuthError::Internal(error.to_string()))?;
        let entry = Entry::by_operator(self.now(), AuditAction::KeyRotate, &id);
        self.parts.audit.record(entry.done());
        Ok(())
    }

    /// Deletes an account and its sessions. `false` when there was no such account.
    pub async fn operator_delete(&self, named: &Named) -> Result<bool, AuthError> {
        let Some(user) = self.operator_find(named).await? else {
            return Ok(false);
        };
        let Some(ended) = self.parts.store.delete_user(&user.key).await? else {
            return Ok(false);
        };
        self.note_ends(&user.key, &ended, EndReason::AccountClosed, By::Operator);
        self.note(AuditAction::AccountDelete, "deleted", &user.key);
        Ok(true)
    }

    /// The newest audit records.
    pub async fn operator_audit(
        &self,
        user: Option<&UserKey>,
        limit: usize,
    ) -> Result<Vec<AuditRecord>, AuthError> {
        let query = Query {
            user: user.cloned(),
            limit,
            ..Query::default()
        };
        Ok(self.operator_audit_find(query).await?.records)
    }

    /// Reads, changes and replaces an account. Repeated when the account was changed in between.
    async fn change(
        &self,
        named: &Named,
        change: impl Fn(User) -> User,
        effect: Effect,
        action: AuditAction,
        outcome: &str,
    ) -> Result<Option<User>, AuthError> {
        for _ in 0..RETRIES {
            let Some(user) = self.operator_find(named).await? else {
                return Ok(None);
            };
            let changed = User {
                updated_at: self.now(),
                ..change(user)
            };
            let updated = if action == AuditAction::PasswordChange {
                let by = Changer::Operator;
                self.change_password_of(changed.clone(), effect, by).await?
            } else {
                let store = &self.parts.store;
                store.update_user(changed.clone(), effect).await?
            };
            match updated {
                UserUpdated::Stored(revocations) => {
                    if let Effect::EndAll(why) = effect {
                        self.note_ends(&changed.key, &revocations, why, By::Operator);
                    }
                    self.note(action, outcome, &changed.key);
                    return Ok(Some(changed));
                }
                UserUpdated::Stale => {}
                UserUpdated::LoginTaken(kind) => return Err(AuthError::LoginTaken(kind)),
                UserUpdated::Gone => return Ok(None),
            }
        }
        Err(AuthError::Internal(
            "the account was changed too often in between; try again".to_owned(),
        ))
    }

    fn note(&self, action: AuditAction, outcome: &str, user: &UserKey) {
        let entry = Entry::by_operator(self.now(), action, outcome);
        self.parts.audit.record(entry.about(user).done());
    }
}
