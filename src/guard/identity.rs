//! Who is calling, as the upstream is told: the verified claims and the headers made from them.

use http::{HeaderName, HeaderValue};

use crate::model::session::{Generation, SessionKey};
use crate::types::role::Roles;

/// A verified caller. Made once per token and kept with it, so that a repeated token costs no
/// formatting.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user and the session.
    pub session: SessionKey,
    /// The generation the access token was issued at.
    pub generation: Generation,
    /// The roles the token carries.
    pub roles: Roles,
    /// The identity headers, ready to be written: each name once.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}
