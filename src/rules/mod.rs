//! The brain: pure decisions. A record and the time go in, a decision comes out; no store, no
//! socket, no clock. That is why every case can be listed in a table and tested in microseconds.

pub mod first_sight;
pub mod lockout;
pub mod names;
pub mod password;
pub mod rotation;
pub mod session;
