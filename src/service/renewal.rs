//! Renewal: a browser whose access token has run out is let through on its refresh token, and gets
//! new tokens with the answer.
//!
//! It happens in two steps, because between them lies the upstream, which may take its time, and a
//! browser that may not wait for it. [`Service::renew_access`] changes nothing: a request that gets
//! no answer has used nothing up. [`Service::settle_renewal`] rotates when the answer is about to
//! leave, so that a rotation and the cookie that tells of it stay together.

use std::time::Duration;

use crate::model::session::Generation;
use crate::rules::rotation::{Decision, decide};
use crate::service::Service;
use crate::service::caller::Caller;
use crate::service::error::AuthError;
use crate::service::grant::Grant;
use crate::store::RotatePolicy;
use crate::types::secret::SecretText;

/// How long after a rotation a request that began before it still settles by it: longer than any
/// upstream takes. What it presents was good when the request came.
const PATIENT: Duration = Duration::from_secs(3600);

impl Service {
    /// An access token for the session of a refresh token, which is not used up. One that was used
    /// up before ends the session, as anywhere.
    pub async fn renew_access(
        &self,
        token: &str,
        caller: &Caller,
    ) -> Result<SecretText, AuthError> {
        let Some((presented, session)) = self.authentic_refresh(token).await? else {
            return Err(AuthError::InvalidRefreshToken);
        };
        self.parts.limits.refresh(session.key.id)?;
        let RotatePolicy { grace, max_ahead } = self.parts.settings.rotation;
        match decide(&session, presented.generation, grace, max_ahead, self.now()) {
            Decision::Advance | Decision::Repeat | Decision::Ahead { .. } => {
                Ok(self.fresh_tokens(session).await?.access)
            }
            // The store decides again, and carries out what follows.
            Decision::Reuse | Decision::Expired => {
                self.refresh(token, caller).await.map(|g| g.access)
            }
        }
    }

    /// Rotates for a request that was renewed and is about to be answered. `None` when others went
    /// further meanwhile: the browser has newer cookies by now, or will get them.
    pub async fn settle_renewal(&self, token: &str, caller: &Caller) -> Option<Grant> {
        let (presented, session) = self.authentic_refresh(token).await.ok()??;
        let Generation(current) = session.generation;
        let Generation(shown) = presented.generation;
        if shown.saturating_add(1) < current {
            return None;
        }
        let policy = RotatePolicy {
            grace: PATIENT,
            ..self.parts.settings.rotation
        };
        self.rotate(session.key, presented.generation, policy, caller)
            .await
            .ok()
    }
}
