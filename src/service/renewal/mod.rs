//! How does a browser with an expired access token continue without an error? Its refresh token lets the
//! request pass, and the answer carries new tokens.
//!
//! This takes two steps, because the upstream answers between them: that may take long, and the browser may
//! disconnect. [`Service::renew_access`] changes nothing: a request without an answer has used up nothing.
//! [`Service::settle_renewal`] rotates when the answer is about to be sent, so that a rotation and its cookie
//! stay together. Parallel requests of one generation share both steps ([`Renewals`]).

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

/// How long after a rotation an earlier request can still use it: longer than any upstream takes. Its
/// token was valid when the request arrived.
const PATIENT: Duration = Duration::from_secs(3600);

/// The least remaining life of a shared access token: longer than a request is authorized by it.
const LEFT: Duration = Duration::from_secs(10);

impl Service {
    /// An access token for the session of a refresh token, which is not used up. A token that was used
    /// before ends the session, as elsewhere. Parallel requests of one generation count once against the
    /// limit.
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
            // The store decides again, and acts on the outcome.
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

    /// Counts a refresh with this generation of a session against the limit, once for all requests that
    /// present it.
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

    /// Rotates for a request that was renewed and is about to be answered. `None` when another request
    /// rotated further: the browser has newer cookies by now, or will get them.
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
            // The roles were changed in between, or the store did not answer.
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

    /// Whether tokens of this version of the account are accepted.
    fn is_admitted(&self, session: SessionId, version: AccountVersion) -> bool {
        self.parts.liveness.admits(session, Some(version))
    }
}
