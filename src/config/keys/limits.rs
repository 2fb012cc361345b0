//! The keys of `[limits]`.

use crate::config::key::{Support, keys};
use crate::config::kind::{KIB, MIB, Rate, Size, rate, section, size};

keys! {
    /// Rate limits: "N/s", "N/m", "N/h" or "N/d". N at once, refilled evenly over the period.
    LIMITS = section("limits");

    /// Failed log-ins with one name from one address. An address may have ten times as many, and the
    /// networks around it more. Successful log-ins do not count.
    LOGIN: Rate = rate("limits.login", "20/h");

    /// Sign-ups per client address.
    SIGNUP: Rate = rate("limits.signup", "10/h");

    /// Refreshes per session.
    REFRESH: Rate = rate("limits.refresh", "60/m");

    /// Requests that list or end sessions, per user.
    LISTS: Rate = rate("limits.lists", "120/m");

    /// Not in this version: session lists of the biore dialect.
    SESSIONS: Rate = rate("limits.sessions", "30/h")
        .support(Support::Ignored("it is for the biore dialect; limits.lists is the native one"));

    /// Size of a request body under a mount.
    BODY: Size = size("limits.body", "64KiB", KIB..=16 * MIB);
}
