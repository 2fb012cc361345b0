//! What can an operator do with sessions? List them, and end one, those of a user, or all.

use std::time::Duration;

use crate::model::audit::AuditAction;
use crate::model::session::{EndReason, Session, SessionKey};
use crate::model::user::UserKey;
use crate::service::Service;
use crate::service::audit::Entry;
use crate::service::error::AuthError;
use crate::service::logout::By;
use crate::store::{BulkStore as _, EndAll, Scope, SessionStore as _};
use crate::telemetry::metrics::Event;
use crate::types::ids::SessionId;
use crate::types::time::Stopwatch;

/// How many records one step of a bulk operation removes. Other operations wait for one step at most.
const BULK_STEP: usize = 1_000;

/// How long a bulk operation works before it reports. Each step is durable by itself.
const BULK_SPAN: Duration = Duration::from_secs(1);

impl Service {
    /// Live sessions of one user, or up to `limit` sessions of all users after `after`.
    pub async fn operator_sessions(
        &self,
        user: Option<&UserKey>,
        after: Option<SessionKey>,
        limit: usize,
    ) -> Result<Vec<Session>, AuthError> {
        Ok(match user {
            Some(user) => self.parts.store.sessions(user).await?,
            None => self.parts.store.all_sessions(after, limit).await?,
        })
    }

    /// Ends one session by id. Returns how many ended: zero or one.
    pub async fn operator_end_session(&self, id: SessionId) -> Result<usize, AuthError> {
        match self.parts.store.find_session(id).await? {
            Some(key) => self.operator_end(Scope::One(key)).await,
            None => Ok(0),
        }
    }

    /// Ends all sessions of one user.
    pub async fn operator_end_user(&self, user: &UserKey) -> Result<usize, AuthError> {
        self.operator_end(Scope::AllOf(user.clone())).await
    }

    /// Ends all sessions, in one step. Their records are removed by [`Self::operator_clear_ended`], or
    /// later by upkeep.
    pub async fn operator_end_all(&self) -> Result<EndAll, AuthError> {
        let all = self.parts.store.end_all(EndReason::Operator).await?;
        let outcome = format!("all ({})", all.found);
        let entry = Entry::by_operator(self.now(), AuditAction::SessionEnd, &outcome);
        self.parts.audit.record(entry.done());
        Ok(all)
    }

    /// Removes records of sessions that ended with all others, for about `BULK_SPAN`, and returns the
    /// progress. `None` when there was no end of all sessions.
    pub async fn operator_clear_ended(&self) -> Result<Option<EndAll>, AuthError> {
        let watch = Stopwatch::start();
        while let Some(all) = self.parts.store.clear_ended(BULK_STEP).await? {
            self.parts.events.add(Event::SessionEnded, all.added);
            if all.is_complete || watch.elapsed() >= BULK_SPAN {
                return Ok(Some(all));
            }
        }
        Ok(None)
    }

    async fn operator_end(&self, scope: Scope) -> Result<usize, AuthError> {
        let ended = self.parts.store.end(&scope, EndReason::Operator).await?;
        self.note_ends(scope.owner(), &ended, EndReason::Operator, By::Operator);
        Ok(ended.len())
    }
}
