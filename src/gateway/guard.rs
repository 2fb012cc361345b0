//! Phase 5: may the request pass?
//!
//! The guard decides by the access token. A browser whose access cookie has expired, but whose refresh
//! cookie is valid, is refreshed on the way: the upstream sees an authenticated request, and the response
//! carries the new cookies. Parallel requests all succeed, and a slow application or a client that disconnects
//! costs no session: the refresh token is rotated only when a response leaves (`service::renewal`). A
//! request with an `Authorization` header is a program's, which refreshes itself.

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::api::{Api, ApiError};
use crate::gateway::answer::Refusal;
use crate::gateway::caller::caller;
use crate::gateway::context::Context;
use crate::gateway::host::Host;
use crate::guard::{Decision, Denial, Guard, Permit, Reason};
use crate::service::{AuthError, Caller};
use crate::types::path::CleanPath;
use crate::types::secret::SecretText;
use crate::types::time::Clock;

/// The part of a request that is authorized: everything but its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) host: &'a Host,
    pub(crate) path: &'a CleanPath<'a>,
}

/// The outcome of phase 5.
#[derive(Debug)]
pub(crate) struct Authorization {
    pub(crate) outcome: Result<Permit, Denial>,
    /// The renewal to complete with the response, also when that is a refusal.
    pub(crate) renewal: Option<Box<Renewal>>,
}

/// A renewal that is completed when its response leaves.
#[derive(Debug)]
pub(crate) struct Renewal {
    token: SecretText,
    caller: Caller,
}

/// Authorizes requests.
#[derive(Debug)]
pub struct Authorizer {
    /// Decides by the access token.
    pub guard: Arc<Guard>,
    /// Renews by the refresh cookie.
    pub api: Arc<Api>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Authorizer {
    /// Authorizes a request by its access token, and where that could help and `renews` permits it, by its
    /// refresh cookie.
    ///
    /// # Errors
    ///
    /// When the store has no answer, or a limit is exceeded: neither may be reported as an ended session.
    pub(crate) async fn authorize(
        &self,
        head: Head<'_>,
        renews: bool,
        context: &Context,
    ) -> Result<Authorization, Refusal> {
        let host = head.host.name.as_str();
        let decision = self
            .guard
            .authorize(head.method, head.headers, host, head.path, context.at);
        let outcome = match decision {
            Decision::Allow(permit) => Ok(permit),
            Decision::Deny(denial) => Err(denial),
            Decision::Unseen(unseen) => Box::pin(self.guard.first_sight(unseen)).await,
        };
        if renews
            && could_help(&outcome)
            && let copies = self.api.renewable(head.headers)
            && !copies.is_empty()
            && let Some(renewed) = Box::pin(self.renew(copies, head, context)).await?
        {
            return Ok(renewed);
        }
        Ok(Authorization {
            outcome,
            renewal: None,
        })
    }

    /// Authorizes a request by its refresh cookie; `None` when no copy of the cookie is valid.
    async fn renew(
        &self,
        copies: Vec<SecretText>,
        head: Head<'_>,
        context: &Context,
    ) -> Result<Option<Authorization>, Refusal> {
        let service = self.api.service();
        let caller = caller(&self.api, head.headers, context);
        let renewed = async {
            let token = service.choose_refresh(copies).await?;
            let access = service.renew_access(token.expose(), &caller).await?;
            Ok((token, access))
        };
        let (token, access) = match renewed.await {
            Ok(renewed) => renewed,
            Err(error @ (AuthError::Store(_) | AuthError::RateLimited(_))) => {
                return Err(ApiError::Auth(error).into());
            }
            Err(_) => return Ok(None),
        };
        let host = head.host.name.as_str();
        let token_bytes = access.expose().as_bytes();
        let now = self.clock.now();
        let decision = self
            .guard
            .authorize_token(head.method, host, head.path, token_bytes, now);
        let outcome = match decision {
            Decision::Allow(permit) => Ok(permit),
            Decision::Deny(denial) => Err(denial),
            Decision::Unseen(unseen) => self.guard.first_sight(unseen).await,
        };
        Ok(Some(Authorization {
            outcome,
            renewal: Some(Box::new(Renewal { token, caller })),
        }))
    }

    /// Rotates the refresh token and puts the new tokens into the response. If the client disconnects
    /// meanwhile, its refresh cookie stays valid: it is the current generation, or the one before within
    /// the grace.
    pub(crate) async fn complete(&self, renewal: Renewal, headers: &mut HeaderMap) {
        let Renewal { token, caller } = renewal;
        let service = self.api.service();
        if let Some(grant) = service.settle_renewal(token.expose(), &caller).await {
            self.api.set_tokens(&grant, headers);
        }
    }
}

/// Whether a new access token could change the outcome. It could also where the access cookie is invalid:
/// a neighbouring host can have set it, and the browser deletes ours when it expires.
fn could_help(outcome: &Result<Permit, Denial>) -> bool {
    match outcome {
        Ok(permit) => permit.lacks_identity(),
        Err(denial) => match denial.reason() {
            Reason::Missing | Reason::Expired | Reason::Stale | Reason::Ended | Reason::Invalid => {
                true
            }
            Reason::Unavailable
            | Reason::TwoCredentials
            | Reason::MissingRole
            | Reason::Forbidden
            | Reason::Unsigned => false,
        },
    }
}
