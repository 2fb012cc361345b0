//! When do failed attempts lock an account or a name, and for how long?
//!
//! Failures no longer count `lock_for` after the last one. A lock ends after that time, by an operator, or with
//! the success of an attempt that began before the lock.

use std::time::Duration;

use crate::model::lockout::Lockout;
use crate::types::time::Timestamp;

/// The counter after one more failure at `now`.
#[must_use]
pub fn after_failure(
    before: Lockout,
    max_failures: u32,
    lock_for: Duration,
    now: Timestamp,
) -> Lockout {
    if before.is_locked(now) {
        // Guesses must not prolong the lock, so they are not counted. Their time is kept all the same: a
        // failure that writes nothing would be faster than others, and reveal that the account is locked.
        return Lockout {
            last_failure: now,
            ..before
        };
    }
    let remembered = now < before.last_failure.plus(lock_for);
    let was_locked = before.locked_until > Timestamp::default();
    let failures = if remembered && !was_locked {
        before.failures.saturating_add(1)
    } else {
        1
    };
    let locks = max_failures > 0 && failures >= max_failures;
    let locked_until = if locks {
        now.plus(lock_for)
    } else {
        Timestamp::default()
    };
    Lockout {
        failures,
        last_failure: now,
        locked_until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn fail(times: u32, mut state: Lockout, now: Timestamp) -> Lockout {
        for _ in 0..times {
            state = after_failure(state, 7, HOUR, now);
        }
        state
    }

    #[test]
    fn the_seventh_failure_locks_until_the_lock_expires() {
        let now = Timestamp::from_secs(1_000_000);
        assert!(!fail(6, Lockout::default(), now).is_locked(now));
        let locked = fail(7, Lockout::default(), now);
        assert!(locked.is_locked(now));
        assert!(locked.is_locked(now.plus(HOUR).minus(Duration::from_millis(1))));
        assert!(!locked.is_locked(now.plus(HOUR)));
    }

    #[test]
    fn further_guesses_do_not_prolong_a_lock() {
        let now = Timestamp::from_secs(1_000_000);
        let locked = fail(7, Lockout::default(), now);
        let later = now.plus(HOUR / 2);
        let guessed = fail(100, locked, later);
        assert_eq!(guessed.locked_until, locked.locked_until);
        assert_eq!(guessed.failures, locked.failures);
        assert_eq!(fail(1, guessed, now.plus(HOUR)).failures, 1);
    }

    #[test]
    fn every_failure_changes_the_counter_so_that_each_costs_one_write() {
        let now = Timestamp::from_secs(1_000_000);
        let mut state = Lockout::default();
        for millis in 0..20 {
            let after = fail(1, state, now.plus(Duration::from_millis(millis)));
            assert_ne!(after, state);
            state = after;
        }
    }

    #[test]
    fn after_a_lock_the_counter_restarts() {
        let now = Timestamp::from_secs(1_000_000);
        let locked = fail(7, Lockout::default(), now);
        let later = now.plus(HOUR);
        assert_eq!(fail(1, locked, later).failures, 1);
        assert!(!fail(6, locked, later).is_locked(later));
    }

    #[test]
    fn old_failures_expire() {
        let now = Timestamp::from_secs(1_000_000);
        let six = fail(6, Lockout::default(), now);
        assert!(!fail(1, six, now.plus(HOUR)).is_locked(now.plus(HOUR)));
    }

    #[test]
    fn zero_disables_the_lock() {
        let now = Timestamp::from_secs(1_000_000);
        let mut state = Lockout::default();
        for _ in 0..1_000 {
            state = after_failure(state, 0, HOUR, now);
        }
        assert!(!state.is_locked(now));
    }
}
