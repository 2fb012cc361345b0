//! Which settings do the use cases have?

use std::time::Duration;

use crate::rules::names::Reserved;
use crate::rules::session::Limits as SessionLimits;
use crate::store::{Cap, LockPolicy, RotatePolicy};
use crate::types::language::Language;
use crate::types::login::LoginKind;
use crate::types::role::Roles;

/// The settings of sign-up, log-in, refresh and sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether sign-up is open.
    pub signup: SignupMode,
    /// The roles of new users.
    pub signup_roles: Roles,
    /// Names that cannot be chosen at sign-up.
    pub reserved: Reserved,
    /// The smallest number of characters of a new password.
    pub password_min_chars: usize,
    /// The kinds of logins that are accepted.
    pub identifiers: Vec<LoginKind>,
    /// When failures lock an account.
    pub lock: LockPolicy,
    /// The lives of sessions.
    pub sessions: SessionLimits,
    /// The number of sessions for each user.
    pub cap: Cap,
    /// The grace of a rotation, and its tolerance.
    pub rotation: RotatePolicy,
    /// The language of a mail whose cause names none of ours; `None` when no mail is sent.
    pub mail: Option<Language>,
    /// The life of an access token.
    pub access_ttl: Duration,
}

/// Whether sign-up is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignupMode {
    /// It is not. The operator adds accounts.
    Closed,
    /// It is.
    Open,
}
