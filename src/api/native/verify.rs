//! `GET /verify`: whether a request may pass, as gateways ask it.
//!
//! What a trusted peer asks about another request is judged in `server::check`; both ways answer
//! here, with the same headers. A header without a value is absent, so a gateway has to take away
//! what the client sent under that name.

use http::StatusCode;

use crate::api::Answer;
use crate::api::error::ApiError;
use crate::api::native::Asked;
use crate::api::settings::{Delivery, Mount};
use crate::api::wire::reply;
use crate::guard::Identity;

/// Where gateways ask.
pub const VERIFY: &str = "/verify";

/// The route of checks, as it was called.
#[derive(Debug, Clone, Copy)]
pub struct CheckRoute<'a> {
    /// What follows it in the path: nothing, or a slash and more.
    pub below: &'a str,
    /// Whether cookies are renewed with the answer.
    pub renews: bool,
}

impl<'a> CheckRoute<'a> {
    /// The route, if this is the path below a mount that leads there.
    pub(in crate::api) fn of(mount: &Mount, path: &'a str) -> Option<Self> {
        let below = path.strip_prefix(VERIFY)?;
        (below.is_empty() || below.starts_with('/')).then_some(Self {
            below,
            renews: mount.verify_renews && mount.delivery == Delivery::Cookies,
        })
    }
}

/// Whether the shown token is good: 200 with the identity headers, or the refusal.
pub(super) async fn verify(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let identity = asked.caller().await?;
    Ok(admitted(Some(&identity)))
}

/// 200 with the identity headers of a caller, or with none.
pub(in crate::api) fn admitted(identity: Option<&Identity>) -> Answer {
    let mut answer = reply::empty(StatusCode::OK);
    for (name, value) in identity.map(|i| i.headers.as_slice()).unwrap_or_default() {
        answer.headers_mut().insert(name.clone(), value.clone());
    }
    answer
}
