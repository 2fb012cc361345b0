//! A refresh token is used once: parallel refreshes get one successor, a stolen token that is used again ends
//! the session. A browser is refreshed during its request, and a session ends after its idle limit.
//!
//! - [`tokens`]: refresh by a program: repeats, reuse, limits, changed accounts.
//! - [`browsers`]: a request whose access cookie has expired.
//! - [`idle`]: the idle limit counts from the last activity.

mod browsers;
mod idle;
mod tokens;
