//! How does a gateway ask whether a request may pass?
//!
//! A dialect can have one route for it. A question of a trusted peer is about another request: `gateway::check`
//! authorizes it. A header without a value is absent from the response, so the gateway must remove what the client
//! sent under that name.

use http::StatusCode;

use crate::api::Mounted;
use crate::api::settings::Delivery;
use crate::api::wire::reply::{self, Answer};
use crate::guard::Identity;

/// The route for questions, as it was called.
#[derive(Debug, Clone, Copy)]
pub struct CheckRoute<'a> {
    /// The rest of the path: empty, or a slash and more. It can be the path that the question is about, so it is
    /// not a clean path.
    pub below: &'a str,
    /// Whether the response renews cookies.
    pub renews: bool,
}

impl<'a> CheckRoute<'a> {
    /// The route, if a path below a mount belongs to it.
    pub fn of(mounted: &Mounted, path: &'a str) -> Option<Self> {
        let below = path.strip_prefix(mounted.dialect.check_path()?)?;
        let mount = &mounted.mount;
        (below.is_empty() || below.starts_with('/')).then_some(Self {
            below,
            renews: mount.verify_renews && mount.delivery == Delivery::Cookies,
        })
    }
}

/// The response for a request that may pass: 200 with the identity headers of its caller, if it has one.
pub fn permitted(identity: Option<&Identity>) -> Answer {
    let mut answer = reply::empty(StatusCode::OK);
    if let Some(identity) = identity {
        let headers = answer.headers_mut();
        identity.each_header(|name, value| drop(headers.insert(name, value.clone())));
    }
    answer
}
