//! Renewal: a browser whose access token has run out is let through on its refresh token, and gets
//! new tokens with the answer.
//!
//! It happens in two steps, because between them lies the upstream, which may take its time, and a
//! browser that may not wait for it. [`Service::renew_access`] changes nothing: a request that gets
//! no answer has used nothing up. [`Service::settle_renewal`] rotates when the answer is about to
//! leave, so that a rotation and the cookie that tells of it stay together. Parallel requests of one
//! generation share both steps ([`Renewals`]).

mod shared;

use std::sync::Arc;
use std::time::Duration;

use crate::model::session::{Generation, Session, SessionKey};
use crate::model::user::AccountVersion;
use crate::rules::rotation::{Decision, decide};
use crate::service::Service;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::service::grant::Grant;
use crate::store::RotatePolicy;
use crate::types::ids::SessionId;
use crate::types::secret::SecretText;

use self::shared::{Fresh, Renewal};

pub use self::shared::Renewals;

/// How long after a rotation a request that began before it still settles by it: longer than any
/// upstream takes. What it presents was good when the request came.
const PATIENT: Duration = Duration::from_secs(3600);

/// A shared access token lives at least so much longer: longer than it takes to judge a request by it.
const LEFT: Duration = Duration::from_secs(10);

impl Service {
    /// An access token for the session of a refresh token, which is not used up. One that was used
    /// up before ends the session, as anywhere. Parallel requests of one generation count once
    /// against the limit.
    pub async fn renew_access(
        &self,
        token: &str,
        caller: &Caller,
    ) -> Result<SecretText, AuthError> {
        let Some((presented, session)) = self.authentic_refresh(token).await? else {
            return Err(AuthError::InvalidRefreshToken);
        };
        let RotatePolicy { grace, max_ahead } = self.parts.settings.rotation;
        match decide(&session, presented.generation, grace, max_ahead, self.now()) {
            Decision::Advance | Decision::Repeat | Decision::Ahead { .. } => {
                self.shared_access(presented.generation, session).await
            }
            // The store decides again, and carries out what follows.
            Decision::Reuse | Decision::Expired => {
                self.refresh(token, caller).await.map(|g| g.access)
            }
        }
    }

    async fn shared_access(
        &self,
        presented: Generation,
        session: Session,
    ) -> Result<SecretText, AuthError> {
        let of = (session.key.id, presented);
        let renewal = self.counted_renewal(of)?;
        let outcome = renewal
            .access
            .get_or_init(|| self.fresh_access(session))
            .await;
        if outcome.is_err() {
            self.parts.renewals.forget(of, &renewal);
        }
        outcome.clone().map(|fresh| fresh.access)
    }

    /// Counts a refresh that presents this generation of a session against the limit, once for all that do.
    pub(super) fn count_refresh(
        &self,
        session: SessionId,
        presented: Generation,
    ) -> Result<(), AuthError> {
        self.counted_renewal((session, presented)).map(drop)
    }

    /// The renewal that requests of one generation share, counted once against the limit.
    fn counted_renewal(&self, of: (SessionId, Generation)) -> Result<Arc<Renewal>, AuthError> {
        let now = self.now();
        let is_good = |fresh: &Fresh| {
            now.plus(LEFT) < fresh.expires_at && self.is_admitted(of.0, fresh.version)
        };
        let limit = || self.parts.limits.refresh(of.0).map(drop);
        Ok(self.parts.renewals.join(of, now, is_good, limit)?)
    }

    async fn fresh_access(&self, session: Session) -> Result<Fresh, AuthError> {
        let grant = self.fresh_tokens(session).await?;
        Ok(Fresh {
            access: grant.access,
            expires_at: grant.access_expires_at,
            version: grant.user.account_version(),
        })
    }

    /// Rotates for a request that was renewed and is about to be answered. `None` when others went
    /// further meanwhile: the browser has newer cookies by now, or will get them.
    pub async fn settle_renewal(&self, token: &str, caller: &Caller) -> Option<Arc<Grant>> {
        let (presented, session) = self.authentic_refresh(token).await.ok()??;
        let Generation(current) = session.generation;
        let Generation(shown) = presented.generation;
        if shown.saturating_add(1) < current {
            return None;
        }
        let (key, of) = (&session.key, (session.key.id, presented.generation));
        let settle = || self.rotate_patiently(key, presented.generation, caller);
        let Some(renewal) = self.parts.renewals.of(of, self.now()) else {
            return settle().await;
        };
        match renewal.grant.get_or_init(settle).await {
            Some(grant) if self.is_admitted(key.id, grant.user.account_version()) => {
                Some(Arc::clone(grant))
            }
            // The roles changed since, or the store had no answer.
            _ => settle().await,
        }
    }

    async fn rotate_patiently(
        &self,
        key: &SessionKey,
        presented: Generation,
        caller: &Caller,
    ) -> Option<Arc<Grant>> {
        let policy = RotatePolicy {
            grace: PATIENT,
            ..self.parts.settings.rotation
        };
        let rotated = self.rotate(key.clone(), presented, policy, caller).await;
        rotated.ok().map(Arc::new)
    }

    /// Whether what was issued from this version of the account passes.
    fn is_admitted(&self, session: SessionId, version: AccountVersion) -> bool {
        self.parts.liveness.admits(session, Some(version))
    }
}
