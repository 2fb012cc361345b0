//! Pure decisions: functions from records and the time to a decision, without a store, a socket or a
//! clock. So every case can be listed in a table and tested in microseconds.

pub mod first_sight;
pub mod lockout;
pub mod names;
pub mod password;
pub mod rotation;
pub mod session;
