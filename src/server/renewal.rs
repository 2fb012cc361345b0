//! A browser whose access cookie has run out, but whose refresh cookie is good, is refreshed on the
//! way through: the upstream sees a signed-in request and the answer carries the new cookies.
//!
//! Parallel requests all succeed, because a refresh token presented again within the grace gives the
//! same successor. A request that shows its own `Authorization` is a program's: it refreshes itself.

use http::{HeaderMap, Method};

use crate::guard::{Denial, Permit, Reason, Verdict};
use crate::server::intake::Host;
use crate::server::pipeline::Pipeline;
use crate::server::record::Record;
use crate::service::Grant;
use crate::types::path::CleanPath;

/// What is judged: the request without its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) host: &'a Host,
    pub(super) path: &'a CleanPath<'a>,
}

impl Pipeline {
    /// Tries the refresh cookie of a refused request. Gives the permit and the tokens to hand over,
    /// or the refusal as it was.
    pub(super) async fn renew(
        &self,
        denial: Denial,
        head: Head<'_>,
        record: &Record,
    ) -> Result<(Permit, Grant), Denial> {
        match denial.reason() {
            Reason::Missing | Reason::Expired | Reason::Stale => {}
            Reason::Invalid
            | Reason::Ended
            | Reason::TwoCredentials
            | Reason::MissingRole
            | Reason::Forbidden => return Err(denial),
        }
        let Some(token) = self.api.renewable(head.headers) else {
            return Err(denial);
        };
        let caller = self.caller(head.headers, record.context());
        let Ok(grant) = self.api.service().refresh(token.expose(), &caller).await else {
            return Err(denial);
        };
        let now = self.clock.now();
        let host = head.host.name.as_str();
        let access = grant.access.expose().as_bytes();
        match self
            .guard
            .judge_token(head.method, host, head.path, access, now)
        {
            Verdict::Allow(permit) => Ok((permit, grant)),
            Verdict::Deny(denial) => Err(denial),
        }
    }
}
