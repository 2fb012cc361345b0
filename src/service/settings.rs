//! What the use cases are told by the configuration.

use std::time::Duration;

use crate::rules::names::Reserved;
use crate::rules::session::Limits as SessionLimits;
use crate::store::{Cap, LockPolicy, RotatePolicy};
use crate::types::login::LoginKind;
use crate::types::role::Roles;

/// Everything that shapes sign-up, log-in, refresh and sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who may sign up.
    pub signup: SignupMode,
    /// Roles of who signs up.
    pub signup_roles: Roles,
    /// Names that nobody may choose for themselves.
    pub reserved: Reserved,
    /// The least characters of a new password.
    pub password_min_chars: usize,
    /// What the log-in field may hold.
    pub identifiers: Vec<LoginKind>,
    /// When failures lock.
    pub lock: LockPolicy,
    /// Session lives.
    pub sessions: SessionLimits,
    /// Sessions per user.
    pub cap: Cap,
    /// Rotation grace and tolerance.
    pub rotation: RotatePolicy,
    /// Life of an access token.
    pub access_ttl: Duration,
}

/// Who may sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignupMode {
    /// Nobody; the operator adds accounts.
    Closed,
    /// Everybody.
    Open,
}
