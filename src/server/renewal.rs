//! A browser whose access cookie has run out, but whose refresh cookie is good, is refreshed on the
//! way through: the upstream sees a signed-in request and the answer carries the new cookies.
//!
//! Parallel requests all succeed, because a refresh token presented again within the grace gives the
//! same successor. A request that shows its own `Authorization` is a program's: it refreshes itself.

use http::{HeaderMap, Method};

use crate::guard::{Reason, Verdict};
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
    /// Tries the refresh cookie. When it was good, gives the judgement on the fresh token and the
    /// tokens, which the answer must carry whatever becomes of the request: the cookie that the
    /// browser holds is used up.
    pub(super) async fn renew(&self, head: Head<'_>, record: &Record) -> Option<(Verdict, Grant)> {
        let token = self.api.renewable(head.headers)?;
        let caller = self.caller(head.headers, record.context());
        let grant = self
            .api
            .service()
            .refresh(token.expose(), &caller)
            .await
            .ok()?;
        let host = head.host.name.as_str();
        let access = grant.access.expose().as_bytes();
        let now = self.clock.now();
        let verdict = self
            .guard
            .judge_token(head.method, host, head.path, access, now);
        Some((verdict, grant))
    }
}

/// Whether a fresh token could change the judgement.
pub(super) fn could_help(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Allow(permit) => permit.lacks_identity(),
        Verdict::Deny(denial) => match denial.reason() {
            Reason::Missing | Reason::Expired | Reason::Stale => true,
            Reason::Invalid
            | Reason::Ended
            | Reason::TwoCredentials
            | Reason::MissingRole
            | Reason::Forbidden => false,
        },
    }
}
