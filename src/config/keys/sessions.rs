//! The keys of `[sessions]`.

use crate::api::settings::Addresses;
use crate::config::key::keys;
use crate::config::kind::{
    DAY, MINUTE, Number, Span, Word, duration, duration_or_none, number, secs, section, word,
};
use crate::store::WhenFull;

keys! {
    SESSIONS = section("sessions");

    /// Lifetime of a session.
    LIFETIME: Span = duration("sessions.lifetime", "7d", secs(MINUTE)..=secs(3_650 * DAY));

    /// Time without activity after which a session ends. 0: no limit.
    IDLE_TIMEOUT: Span = duration_or_none("sessions.idle_timeout", "24h", secs(MINUTE)..=secs(3_650 * DAY));

    /// Lifetime of a session whose log-in asked to be remembered. Such a session has no idle limit.
    REMEMBER_LIFETIME: Span = duration("sessions.remember_lifetime", "30d", secs(MINUTE)..=secs(3_650 * DAY));

    /// Sessions of one user.
    MAX_PER_USER: Number = number("sessions.max_per_user", 50, 1..=1_000);

    /// A log-in above that number: "end_oldest" ends the oldest session, "refuse" refuses the log-in.
    WHEN_FULL: Word<WhenFull> = word("sessions.when_full", "end_oldest", &WHEN_FULL_WORDS);

    /// Client addresses in session lists: "masked" or "full".
    IP: Word<Addresses> = word("sessions.ip", "masked", &IP_WORDS);
}

const WHEN_FULL_WORDS: [(&str, WhenFull); 2] = [
    ("end_oldest", WhenFull::EndOldest),
    ("refuse", WhenFull::Refuse),
];

const IP_WORDS: [(&str, Addresses); 2] = [("masked", Addresses::Masked), ("full", Addresses::Full)];
