//! What happens when a refresh token of generation `g` is presented?
//!
//! Two cases determine the rule.
//!
//! *The lost reply.* A phone refreshes in a tunnel: the server rotates to `g + 1`, the reply is lost,
//! and the phone presents `g` again. Within the grace period it gets the *same* successor. Two tabs
//! that refresh at the same moment are the same case.
//!
//! *The thief.* A stolen token `g` is used; the owner is at `g + 1` or later. The second of them
//! presents a used generation, after the grace period. The server cannot know which of the two is the
//! thief, so the session ends for both.
//!
//! ```text
//!   presented:   ... g-2    g-1           g            g+1 .. g+max_ahead
//!                    Reuse  Repeat|Reuse  Advance      Ahead
//!                           (grace)       (current)    (the store lost writes)
//! ```
//!
//! The successor is derived, not random, so there is one chain: a repeat cannot fork it.

use std::time::Duration;

use crate::model::session::{Generation, Session};
use crate::types::time::Timestamp;

/// The action of the store for a presented generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// It is the current one: advance by one.
    Advance,
    /// It is the one before and its reply may have been lost: answer with the current one again.
    Repeat,
    /// The store has lost writes: advance to one after the presented one.
    Ahead {
        /// How many generations were lost.
        lost: u32,
    },
    /// It is used up: end the session.
    Reuse,
    /// The session has expired.
    Expired,
}

/// Decides the action for `presented`. With a `grace` of zero nothing is repeated, even within the same
/// millisecond.
pub fn decide(
    session: &Session,
    presented: Generation,
    grace: Duration,
    max_ahead: u32,
    now: Timestamp,
) -> Decision {
    if session.is_expired(now) {
        return Decision::Expired;
    }
    let current = session.generation;
    if presented == current {
        // The largest number has no successor.
        return if current.0 == u32::MAX {
            Decision::Reuse
        } else {
            Decision::Advance
        };
    }
    if presented > current {
        let lost = presented.0 - current.0;
        let fits = lost <= max_ahead && presented.0 != u32::MAX;
        return if fits {
            Decision::Ahead { lost }
        } else {
            Decision::Reuse
        };
    }
    let one_before = presented.next() == current;
    if one_before && !grace.is_zero() && now.since(session.rotated_at) <= grace {
        Decision::Repeat
    } else {
        Decision::Reuse
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::session::sample;

    const GRACE: Duration = Duration::from_secs(30);

    fn at(generation: u32, presented: u32, after: Duration, grace: Duration) -> Decision {
        let mut session = sample(Timestamp::from_secs(1_000));
        session.generation = Generation(generation);
        let now = session.rotated_at.plus(after);
        decide(&session, Generation(presented), grace, 8, now)
    }

    #[test]
    fn the_current_generation_advances() {
        assert_eq!(at(5, 5, Duration::ZERO, GRACE), Decision::Advance);
        assert_eq!(at(0, 0, GRACE * 10, Duration::ZERO), Decision::Advance);
    }

    #[test]
    fn the_previous_generation_is_repeated_until_the_grace_ends() {
        assert_eq!(at(5, 4, GRACE, GRACE), Decision::Repeat);
        assert_eq!(
            at(5, 4, GRACE + Duration::from_millis(1), GRACE),
            Decision::Reuse
        );
    }

    #[test]
    fn without_a_grace_even_the_same_millisecond_is_reuse() {
        assert_eq!(at(5, 4, Duration::ZERO, Duration::ZERO), Decision::Reuse);
    }

    #[test]
    fn two_generations_back_is_reuse_at_any_time() {
        assert_eq!(at(5, 3, Duration::ZERO, GRACE), Decision::Reuse);
    }

    #[test]
    fn a_generation_slightly_ahead_is_accepted_and_one_far_ahead_is_not() {
        assert_eq!(at(5, 6, Duration::ZERO, GRACE), Decision::Ahead { lost: 1 });
        assert_eq!(
            at(5, 13, Duration::ZERO, GRACE),
            Decision::Ahead { lost: 8 }
        );
        assert_eq!(at(5, 14, Duration::ZERO, GRACE), Decision::Reuse);
    }

    #[test]
    fn the_highest_generation_cannot_be_rotated() {
        assert_eq!(
            at(u32::MAX, u32::MAX, Duration::ZERO, GRACE),
            Decision::Reuse
        );
        assert_eq!(
            at(u32::MAX - 1, u32::MAX, Duration::ZERO, GRACE),
            Decision::Reuse
        );
    }

    #[test]
    fn an_expired_session_is_expired_for_any_token() {
        let week = Duration::from_secs(8 * 86_400);
        for presented in [0, 4, 5, 6] {
            assert_eq!(at(5, presented, week, GRACE), Decision::Expired);
        }
    }
}
