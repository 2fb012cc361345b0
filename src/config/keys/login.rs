//! The keys of `[login]`.

use crate::config::key::{Support, keys};
use crate::config::kind::{
    DAY, Number, Span, Text, Texts, duration, number, secs, section, text, texts,
};

keys! {
    LOGIN = section("login");

    /// Names that a user can log in with.
    IDENTIFIERS: Texts = texts("login.identifiers", &["username", "email", "mobile"]);

    /// Only "off" in this version.
    SECOND_FACTOR: Text = text("login.second_factor", "off")
        .support(Support::Refused("this version has no second factors; only \"off\" is possible"));

    /// Consecutive wrong passwords that lock an account. 0: never.
    MAX_FAILURES: Number = number("login.max_failures", 7, 0..=1_000);

    /// Duration of the lock.
    LOCK_FOR: Span = duration("login.lock_for", "60m", secs(1)..=secs(30 * DAY));

    /// Not in this version: lifetime of a one-time code.
    OTP_TTL: Text = text("login.otp_ttl", "5m")
        .support(Support::Ignored("this version has no one-time codes"));

    /// Not in this version: attempts at one code.
    OTP_ATTEMPTS: Number = number("login.otp_attempts", 5, 1..=100)
        .support(Support::Ignored("this version has no one-time codes"));
}
