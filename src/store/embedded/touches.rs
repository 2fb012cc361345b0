//! When is the activity of a session written? With the next batch, or after a few seconds with one of
//! its own.
//!
//! Until then it is in memory. A crash loses the last seconds of activity, which ends an idle session
//! slightly early.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::types::time::Timestamp;

/// The largest number of sessions with unwritten activity. Further activity is dropped.
const MOST: usize = 16_384;

/// Unwritten activity by session key.
#[derive(Debug, Default)]
pub(crate) struct Touches {
    pending: HashMap<Vec<u8>, Touch>,
    oldest: Option<Timestamp>,
}

/// One session's unwritten activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Touch {
    /// When the session was last used.
    pub(crate) at: Timestamp,
    /// The client address.
    pub(crate) address: Option<IpAddr>,
}

impl Touches {
    /// Records activity.
    pub(crate) fn note(&mut self, session: Vec<u8>, touch: Touch) {
        if self.pending.len() >= MOST && !self.pending.contains_key(&session) {
            return;
        }
        self.oldest.get_or_insert(touch.at);
        let noted = self.pending.entry(session).or_insert(touch);
        noted.at = noted.at.max(touch.at);
        noted.address = touch.address.or(noted.address);
    }

    /// The unwritten activity of a session.
    pub(crate) fn of(&self, session: &[u8]) -> Option<Touch> {
        self.pending.get(session).copied()
    }

    /// Removes the activity of a session: it is written, or the session has ended.
    pub(crate) fn settle(&mut self, session: &[u8]) {
        self.pending.remove(session);
        if self.pending.is_empty() {
            self.oldest = None;
        }
    }

    /// Up to `most` sessions with unwritten activity.
    pub(crate) fn some(&self, most: usize) -> Vec<Vec<u8>> {
        self.pending.keys().take(most).cloned().collect()
    }

    /// The time since which activity waits to be written.
    pub(crate) fn waiting_since(&self) -> Option<Timestamp> {
        self.oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_activity_is_monotonic_and_bounded() {
        let mut touches = Touches::default();
        let touch = |at| Touch {
            at: Timestamp::from_millis(at),
            address: None,
        };
        touches.note(vec![1], touch(20));
        touches.note(vec![1], touch(10));
        assert_eq!(touches.of(&[1]), Some(touch(20)));
        for n in 0..2 * MOST {
            touches.note(n.to_be_bytes().to_vec(), touch(30));
        }
        assert_eq!(touches.pending.len(), MOST);
        touches.note(vec![1], touch(40));
        assert_eq!(touches.of(&[1]), Some(touch(40)));
    }

    #[test]
    fn no_activity_is_pending_after_a_flush() {
        let mut touches = Touches::default();
        let at = Timestamp::from_millis(5);
        touches.note(vec![1], Touch { at, address: None });
        assert_eq!(touches.waiting_since(), Some(at));
        touches.settle(&[1]);
        assert_eq!(touches.waiting_since(), None);
    }
}
