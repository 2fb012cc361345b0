//! Which limits does a new session have, and which session is ended if there are too many?

use std::time::Duration;

use crate::model::session::Session;
use crate::types::ids::SessionId;
use crate::types::time::Timestamp;

/// The configured limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Absolute lifetime of an ordinary session.
    pub lifetime: Duration,
    /// Idle limit of an ordinary session; zero = none.
    pub idle: Duration,
    /// Absolute lifetime of a remembered session, which has no idle limit.
    pub remembered: Duration,
}

/// The limits of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Absolute end.
    pub expires_at: Timestamp,
    /// Idle end, or [`Timestamp::MAX`].
    pub idle_expires_at: Timestamp,
    /// Idle limit; zero = none.
    pub idle_limit: Duration,
}

/// The limits of a session made at `now`.
pub fn span(limits: Limits, remember: bool, now: Timestamp) -> Span {
    if remember {
        return Span {
            expires_at: now.plus(limits.remembered),
            idle_expires_at: Timestamp::MAX,
            idle_limit: Duration::ZERO,
        };
    }
    let expires_at = now.plus(limits.lifetime);
    let idle_expires_at = if limits.idle.is_zero() {
        Timestamp::MAX
    } else {
        now.plus(limits.idle).min(expires_at)
    };
    Span {
        expires_at,
        idle_expires_at,
        idle_limit: limits.idle,
    }
}

/// When an access token issued at `now` must expire: after its own life, but never after the end of the
/// session. So the last token of an idle session expires with it, without a read of the store.
pub fn token_expiry(session: &Session, ttl: Duration, now: Timestamp) -> Timestamp {
    now.plus(ttl).min(session.ends_at())
}

/// The sessions that must end so that one more fits under `max`: the oldest ones.
pub fn evicted(live: &[Session], max: usize) -> Vec<SessionId> {
    let excess = (live.len() + 1).saturating_sub(max.max(1));
    let mut by_age: Vec<_> = live.iter().map(|s| (s.created_at, s.key.id)).collect();
    by_age.sort_unstable();
    by_age.into_iter().take(excess).map(|(_, id)| id).collect()
}

/// A session for tests of the rules, made at `now`.
#[cfg(test)]
pub(crate) fn sample(now: Timestamp) -> Session {
    use crate::model::session::{Generation, Proof, SessionKey};
    use crate::model::user::UserKey;
    use crate::types::device::Device;
    use crate::types::ids::{TenantId, UserId};
    use crate::types::random::SeededRandom;

    let random = SeededRandom::new(now.as_millis());
    let day = Duration::from_secs(86_400);
    let limits = Limits {
        lifetime: day * 7,
        idle: day,
        remembered: day * 30,
    };
    let span = span(limits, false, now);
    Session {
        key: SessionKey {
            owner: UserKey {
                tenant: TenantId::default(),
                user: UserId::generate(now, &random),
            },
            id: SessionId::generate(now, &random),
        },
        generation: Generation(0),
        salt: [7; 16],
        rotated_at: now,
        created_at: now,
        last_active_at: now,
        expires_at: span.expires_at,
        idle_expires_at: span.idle_expires_at,
        idle_limit: span.idle_limit,
        remembered: false,
        proof: Proof::password(now),
        device_id: None,
        device_label: None,
        device: Device::default(),
        first_address: None,
        last_address: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const LIMITS: Limits = Limits {
        lifetime: DAY.saturating_mul(7),
        idle: DAY,
        remembered: DAY.saturating_mul(30),
    };

    #[test]
    fn a_remembered_session_has_no_idle_limit() {
        let now = Timestamp::from_secs(1_000);
        let span = span(LIMITS, true, now);
        assert_eq!(span.expires_at, now.plus(DAY * 30));
        assert_eq!(span.idle_expires_at, Timestamp::MAX);
    }

    #[test]
    fn an_access_token_never_outlives_its_session() {
        let now = Timestamp::from_secs(1_000);
        let session = sample(now);
        let ttl = Duration::from_secs(900);
        assert_eq!(token_expiry(&session, ttl, now), now.plus(ttl));
        let late = session.idle_expires_at.minus(Duration::from_secs(60));
        assert_eq!(token_expiry(&session, ttl, late), session.idle_expires_at);
    }

    #[test]
    fn only_as_many_of_the_oldest_sessions_end_as_needed() {
        let live: Vec<_> = (0..5)
            .map(|n| sample(Timestamp::from_secs(1_000 - n)))
            .collect();
        assert_eq!(evicted(&live, 6), []);
        assert_eq!(evicted(&live, 5), [live[4].key.id]);
        assert_eq!(evicted(&live, 4), [live[4].key.id, live[3].key.id]);
        assert_eq!(evicted(&live, 0).len(), 5);
    }
}
