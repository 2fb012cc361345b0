//! The rules of sessions and locks as simply as possible, without a store: plain lists, one caller at a
//! time, time limits checked at use.

use std::collections::BTreeMap;
use std::time::Duration;

use sidegate::model::session::SessionKey;
use sidegate::service::Grant;
use sidegate::types::time::Timestamp;

/// The limits, the same as those of the service.
pub(super) const GRACE: Duration = Duration::from_secs(30);
pub(super) const LEEWAY: Duration = Duration::from_secs(5);
pub(super) const LIFETIME: Duration = Duration::from_secs(7 * 86_400);
pub(super) const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
pub(super) const IDLE: Duration = Duration::from_secs(86_400);
pub(super) const LOCK: Duration = Duration::from_secs(3_600);
pub(super) const MAX_FAILURES: u32 = 3;
pub(super) const CAP: usize = 4;

/// One session, live or ended; the model deletes nothing.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) key: SessionKey,
    pub(super) generation: u32,
    rotated_at: Timestamp,
    created_at: Timestamp,
    expires_at: Timestamp,
    idle_until: Option<Timestamp>,
    pub(super) ended: bool,
    /// The number of access tokens, from the first, with old roles.
    stale: usize,
    /// Every refresh token that was issued, by generation.
    pub(super) refresh: BTreeMap<u32, String>,
    /// Every access token, with its generation and its expiry.
    pub(super) access: Vec<(String, u32, Timestamp)>,
}

/// The expected outcome of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refreshed {
    /// Tokens of this generation.
    To(u32),
    /// Refused without a change.
    No,
    /// Refused, and the session ends.
    Ends,
}

impl Session {
    /// A session that begins with the answer to a log-in.
    pub(super) fn begin(grant: &Grant, now: Timestamp, remember: bool) -> Self {
        let life = if remember { REMEMBERED } else { LIFETIME };
        let mut session = Self {
            key: grant.session.key.clone(),
            generation: 0,
            rotated_at: now,
            created_at: now,
            expires_at: now.plus(life),
            idle_until: (!remember).then(|| now.plus(IDLE)),
            ended: false,
            stale: 0,
            refresh: BTreeMap::new(),
            access: Vec::new(),
        };
        session.receive(grant, 0);
        session
    }

    /// Adds an answer. One generation has one refresh token, for any number of repeats.
    pub(super) fn receive(&mut self, grant: &Grant, generation: u32) {
        assert_eq!(grant.session.key, self.key, "tokens of another session");
        let token = grant.refresh.expose().to_owned();
        let known = self
            .refresh
            .entry(generation)
            .or_insert_with(|| token.clone());
        assert_eq!(*known, token, "two chains in one session");
        let access = grant.access.expose().to_owned();
        self.access
            .push((access, generation, grant.access_expires_at));
    }

    pub(super) fn lives(&self, now: Timestamp) -> bool {
        !self.ended && now < self.expires_at && self.idle_until.is_none_or(|until| now < until)
    }

    /// The outcome of presenting generation `presented`, without applying it.
    pub(super) fn would_refresh(&self, presented: u32, now: Timestamp) -> Refreshed {
        if !self.lives(now) {
            Refreshed::No
        } else if presented == self.generation {
            Refreshed::To(presented + 1)
        } else if presented + 1 == self.generation && now.since(self.rotated_at) <= GRACE {
            Refreshed::To(self.generation)
        } else {
            Refreshed::Ends
        }
    }

    /// Applies [`Session::would_refresh`].
    pub(super) fn refresh(&mut self, presented: u32, now: Timestamp) -> Refreshed {
        let outcome = self.would_refresh(presented, now);
        match outcome {
            Refreshed::To(next) if next > self.generation => {
                self.generation = next;
                self.rotated_at = now;
                self.idle_until = self.idle_until.map(|_| now.plus(IDLE));
            }
            Refreshed::To(_) | Refreshed::No => {}
            Refreshed::Ends => self.ended = true,
        }
        outcome
    }

    /// Whether the access token of this number must pass. `None` where both are correct: within the
    /// leeway of a token whose session has expired, a cached one passes.
    pub(super) fn admits(&self, number: usize, now: Timestamp) -> Option<bool> {
        let expires_at = self.access[number].2;
        let good = !self.ended && number >= self.stale && now < expires_at.plus(LEEWAY);
        (!good || self.lives(now)).then_some(good)
    }

    /// The roles of the account changed.
    pub(super) fn make_stale(&mut self, now: Timestamp) {
        if self.lives(now) {
            self.stale = self.access.len();
        }
    }
}

/// Failed log-ins of one name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FailureCounter {
    failures: u32,
    last: Timestamp,
    locked_until: Timestamp,
}

impl FailureCounter {
    pub(super) fn is_locked(self, now: Timestamp) -> bool {
        now < self.locked_until
    }

    pub(super) fn fail(&mut self, now: Timestamp) {
        if self.is_locked(now) {
            return;
        }
        let begins_anew = self.locked_until > Timestamp::default() || now >= self.last.plus(LOCK);
        self.failures = if begins_anew { 1 } else { self.failures + 1 };
        self.last = now;
        self.locked_until = Timestamp::default();
        if self.failures >= MAX_FAILURES {
            self.locked_until = now.plus(LOCK);
        }
    }
}

/// One account.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) password: String,
    pub(super) enabled: bool,
    pub(super) failures: FailureCounter,
    pub(super) sessions: Vec<Session>,
}

impl Account {
    /// Ends the oldest sessions until there is space for one more.
    pub(super) fn make_room(&mut self, now: Timestamp) {
        let mut live: Vec<_> = self.sessions.iter_mut().filter(|s| s.lives(now)).collect();
        live.sort_by_key(|session| (session.created_at, session.key.id));
        let excess = (live.len() + 1).saturating_sub(CAP);
        for session in live.into_iter().take(excess) {
            session.ended = true;
        }
    }

    /// Ends the live sessions but one; returns their number.
    pub(super) fn end_others(&mut self, kept: Option<usize>, now: Timestamp) -> usize {
        let mut count = 0;
        for (at, session) in self.sessions.iter_mut().enumerate() {
            if Some(at) != kept && session.lives(now) {
                session.ended = true;
                count += 1;
            }
        }
        count
    }
}
