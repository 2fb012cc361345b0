//! A log-in needs the right password. An answer never shows whether an account exists, guesses are
//! counted per account, and an attacker cannot lock out its owner.
//!
//! - [`answers`]: what a log-in answers, locks, session limits, device names.
//! - [`guessing`]: guesses over every route, and the work that each one takes.
//! - [`fairness`]: log-ins of one network against those of all others.
//! - [`imported`]: accounts with the password hashes of other systems.
//! - [`signup`]: sign-up, and changes of the password.
//! - [`names`]: addresses that are not verified, names that look like another.

mod answers;
mod fairness;
mod guessing;
mod imported;
mod names;
mod signup;
