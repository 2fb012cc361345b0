//! Rate limits. Placeholder for the settings.

use std::num::NonZeroU32;
use std::time::Duration;

/// `N/period`: that many in a burst, refilled evenly over the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many.
    pub count: NonZeroU32,
    /// In which time.
    pub period: Duration,
}

/// The limits by what they guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Log-ins, per client address, and per account name from one address.
    pub login: Quota,
    /// Sign-ups, per client address.
    pub signup: Quota,
    /// Refreshes, per session.
    pub refresh: Quota,
    /// Session lists and ends, per user.
    pub sessions: Quota,
}
