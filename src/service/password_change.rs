//! How does a user change the password? With the current one; all other sessions end in the same step.

use crate::crypto::password::Verified;
use crate::limits::{Attempt, Name};
use crate::model::audit::AuditAction;
use crate::model::session::{EndReason, SessionKey};
use crate::model::user::User;
use crate::service::Service;
use crate::service::audit::Entry;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::service::grant::device_name;
use crate::service::login::settle;
use crate::service::logout::By;
use crate::service::mail::Changer;
use crate::service::password::{Class, Share};
use crate::store::{Effect, LockoutStore as _, Target, UserUpdated};
use crate::telemetry::metrics::Event;
use crate::types::secret::Password;

impl Service {
    /// Changes the password of the user of this session, who must give the current one. The other
    /// sessions of the user end; this one continues. The owner gets a mail.
    pub async fn change_password(
        &self,
        session: &SessionKey,
        current: Password,
        new: Password,
        caller: &Caller,
    ) -> Result<(), AuthError> {
        let limits = &self.parts.limits;
        let mut attempt = limits.attempt_from(caller.address).await?;
        let outcome = self
            .attempt_change(&mut attempt, session, (current, new), caller)
            .await;
        settle(attempt, &outcome);
        outcome
    }

    async fn attempt_change(
        &self,
        attempt: &mut Attempt,
        session: &SessionKey,
        (current, new): (Password, Password),
        caller: &Caller,
    ) -> Result<(), AuthError> {
        let limits = &self.parts.limits;
        let name = Name::OfAccount(session.owner.user, "");
        limits.attempt_at(attempt, caller.address, name).await?;
        let (user, _) = self.me(session).await?;
        self.check_new_password(&new, user.logins())?;
        let share = Share::new(caller.address, Class::Proven);
        let stored = user.password.clone();
        let verified = self.parts.passwords.verify(current, stored, share).await?;
        // This is a way to guess a password: failures count for the account, and a lock applies here
        // too. The session itself continues.
        let target = Target::Account(user.key.clone());
        let device = caller.device.map(device_name);
        let standing = self.parts.store.standing(&target, device).await?;
        let refusal = match verified {
            Verified::Mismatch => Some("wrong_password"),
            Verified::Match | Verified::MatchButOutdated => {
                standing.refuses(self.now()).then_some("locked")
            }
        };
        if let Some(reason) = refusal {
            self.count_failure(&target, Some(&user), caller).await?;
            let entry = Entry::by_caller(self.now(), AuditAction::PasswordChange, reason, caller);
            self.parts.audit.record(entry.of(session).done());
            return Err(AuthError::InvalidCredentials);
        }
        let hash = self.parts.passwords.hash(new, share).await?;
        let effect = Effect::EndOthers(session.id, EndReason::PasswordChanged);
        // The version that was verified is replaced: a change in between is not overwritten.
        let changed = User {
            password: hash,
            updated_at: self.now(),
            ..user
        };
        let by = Changer::Owner(caller);
        match self.change_password_of(changed, effect, by).await? {
            UserUpdated::Stored(ended) => {
                let (owner, why) = (&session.owner, EndReason::PasswordChanged);
                self.note_ends(owner, &ended, why, By::Caller(caller));
            }
            UserUpdated::Stale | UserUpdated::Gone => return Err(AuthError::InvalidCredentials),
            UserUpdated::LoginTaken(kind) => return Err(AuthError::LoginTaken(kind)),
        }
        if let Err(error) = self.parts.store.unlock(&target).await {
            tracing::warn!(%error, "failures before a password change are still counted");
        }
        self.parts.events.count(Event::PasswordChanged);
        let entry = Entry::by_caller(self.now(), AuditAction::PasswordChange, "changed", caller);
        self.parts.audit.record(entry.of(session).done());
        Ok(())
    }
}
