//! How is an account created? By its user where sign-up is open, or by an operator.

use crate::model::audit::AuditAction;
use crate::model::user::{User, UserKey, UserStatus, VerifiedAddresses};
use crate::rules::names::{check_chosen, check_safe};
use crate::rules::password as password_rules;
use crate::service::Service;
use crate::service::audit::Entry;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::service::password::{Class, Share};
use crate::service::settings::SignupMode;
use crate::store::{AccountStore as _, UserCreated};
use crate::telemetry::metrics::Event;
use crate::types::ids::{TenantId, UserId};
use crate::types::login::LoginName;
use crate::types::role::Roles;
use crate::types::secret::Password;

/// The properties of a new account.
#[derive(Debug, Clone)]
pub struct SignupRequest {
    /// The chosen name.
    pub username: LoginName,
    /// E-mail address.
    pub email: Option<LoginName>,
    /// Mobile number.
    pub mobile: Option<LoginName>,
    /// The name of the user, at most 128 characters.
    pub name: Option<String>,
    /// The password.
    pub password: Password,
}

impl Service {
    /// Creates an account for its user. Grants no session: the user logs in afterwards.
    pub async fn signup(&self, request: SignupRequest, caller: &Caller) -> Result<User, AuthError> {
        match self.parts.settings.signup {
            SignupMode::Closed => return Err(AuthError::SignupClosed),
            SignupMode::Open => {}
        }
        let attempt = self.parts.limits.signup(caller.address).await?;
        let created = self.try_signup(request, caller).await;
        // A new account counts, and so does the answer that a name is taken. A request that was refused
        // before any lookup does not count, nor one that could not be carried out.
        if !matches!(created, Ok(_) | Err(AuthError::LoginTaken(_))) {
            attempt.give_back();
        }
        let user = created?;
        let entry = Entry::by_caller(self.now(), AuditAction::SignUp, "created", caller);
        self.parts.events.count(Event::Signup);
        self.parts.audit.record(entry.about(&user.key).done());
        Ok(user)
    }

    async fn try_signup(&self, request: SignupRequest, caller: &Caller) -> Result<User, AuthError> {
        check_chosen(&request.username, &self.parts.settings.reserved)?;
        let roles = self.parts.settings.signup_roles.clone();
        let share = Share::new(caller.address, Class::Unproven);
        // It is not yet confirmed that the addresses belong to the caller.
        self.add_user(request, roles, VerifiedAddresses::NONE, share)
            .await
    }

    /// Creates an account with the given roles.
    pub(super) async fn add_user(
        &self,
        request: SignupRequest,
        roles: Roles,
        verified: VerifiedAddresses,
        share: Share,
    ) -> Result<User, AuthError> {
        check_safe(&request.username)?;
        let logins = [
            Some(&request.username),
            request.email.as_ref(),
            request.mobile.as_ref(),
        ];
        self.check_new_password(&request.password, logins.into_iter().flatten())?;
        let password = self.parts.passwords.hash(request.password, share).await?;
        let now = self.now();
        let user = User {
            key: UserKey {
                tenant: TenantId::default(),
                user: UserId::generate(now, &*self.parts.random),
            },
            username: Some(request.username),
            email: request.email,
            mobile: request.mobile,
            verified,
            name: request.name,
            roles,
            password,
            status: UserStatus::Enabled,
            created_at: now,
            updated_at: now,
            version: 0,
        };
        match self.parts.store.create_user(user.clone()).await? {
            UserCreated::Stored => Ok(user),
            UserCreated::LoginTaken(kind) => Err(AuthError::LoginTaken(kind)),
        }
    }

    /// Refuses a new password that is too short, too common, or the login itself.
    pub(super) fn check_new_password<'a>(
        &self,
        password: &Password,
        logins: impl Iterator<Item = &'a LoginName>,
    ) -> Result<(), AuthError> {
        let min = self.parts.settings.password_min_chars;
        match password_rules::weakness(password, min, logins.map(LoginName::as_str)) {
            Some(weakness) => Err(AuthError::WeakPassword(weakness)),
            None => Ok(()),
        }
    }
}
