//! The judgement of a request, and its second chance: a browser whose access cookie has run out, but
//! whose refresh cookie is good, is refreshed on the way through. The upstream sees a signed-in request
//! and the answer carries the new cookies.
//!
//! Parallel requests all succeed, and a slow application or a browser that does not wait costs no
//! session: nothing is used up before an answer leaves (`service::renewal`). A request that shows its
//! own `Authorization` is a program's: it refreshes itself.

use http::{HeaderMap, Method};

use crate::api::ApiError;
use crate::guard::{Denial, Permit, Reason, Verdict};
use crate::server::intake::Host;
use crate::server::pipeline::{Besides, Pipeline};
use crate::server::problem::Refusal;
use crate::server::record::Record;
use crate::service::{AuthError, Caller};
use crate::types::path::CleanPath;
use crate::types::secret::SecretText;

/// What is judged: the request without its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) host: &'a Host,
    pub(super) path: &'a CleanPath<'a>,
}

impl Pipeline {
    /// May it pass? Asked once more by the refresh cookie where that `renews` and could help; then the
    /// answer is to be settled, also when it is a refusal.
    pub(super) async fn judge(
        &self,
        head: Head<'_>,
        renews: bool,
        record: &Record,
        besides: &mut Besides,
    ) -> Result<Permit, Refusal> {
        let (host, now) = (head.host.name.as_str(), record.context().at);
        let verdict = self
            .guard
            .judge(head.method, head.headers, host, head.path, now);
        let mut judged = match verdict {
            Verdict::Allow(permit) => Ok(permit),
            Verdict::Deny(denial) => Err(denial),
            Verdict::Unseen(unseen) => Box::pin(self.guard.first_sight(unseen)).await,
        };
        if renews
            && could_help(&judged)
            && let copies = self.api.renewable(head.headers)
            && !copies.is_empty()
            && let Some((renewed, renewal)) = Box::pin(self.renew(copies, head, record)).await?
        {
            judged = renewed;
            besides.renewal = Some(renewal);
        }
        judged.map_err(Refusal::Denied)
    }

    /// Judges a request by its refresh cookie. When that is good, gives the judgement and the token
    /// to settle by when the answer leaves. A store without an answer, or a limit, is an
    /// error of its own: it must not look like a session that is over.
    async fn renew(
        &self,
        copies: Vec<SecretText>,
        head: Head<'_>,
        record: &Record,
    ) -> Result<Option<(Result<Permit, Denial>, Renewal)>, Refusal> {
        let service = self.api.service();
        let caller = self.caller(head.headers, record.context());
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
        let verdict = self
            .guard
            .judge_token(head.method, host, head.path, token_bytes, now);
        let judged = match verdict {
            Verdict::Allow(permit) => Ok(permit),
            Verdict::Deny(denial) => Err(denial),
            Verdict::Unseen(unseen) => self.guard.first_sight(unseen).await,
        };
        Ok(Some((judged, Renewal { token, caller })))
    }

    /// Rotates and puts the new tokens into the answer, whatever became of the request. A client that
    /// hangs up meanwhile leaves either the old generation or a rotation whose answer nobody got: its
    /// refresh cookie is good in both cases, in the second for as long as the grace lasts.
    pub(super) async fn settle(&self, renewal: Renewal, headers: &mut HeaderMap) {
        let Renewal { token, caller } = renewal;
        if let Some(grant) = self
            .api
            .service()
            .settle_renewal(token.expose(), &caller)
            .await
        {
            self.api.hand_over(&grant, headers);
        }
    }
}

/// A renewal that waits for its answer.
#[derive(Debug)]
pub(super) struct Renewal {
    token: SecretText,
    caller: Caller,
}

/// Whether a fresh token could change the judgement. It could where the access cookie is none of ours
/// any more, too: a neighbouring host can plant one, and ours is gone when its time is over.
fn could_help(judged: &Result<Permit, Denial>) -> bool {
    match judged {
        Ok(permit) => permit.lacks_identity(),
        Err(denial) => match denial.reason() {
            Reason::Missing | Reason::Expired | Reason::Stale | Reason::Ended | Reason::Invalid => {
                true
            }
            Reason::Unavailable
            | Reason::TwoCredentials
            | Reason::MissingRole
            | Reason::Forbidden => false,
        },
    }
}
