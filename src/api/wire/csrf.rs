//! Proof that a write carried by a cookie comes from a page of ours.
//!
//! `Sec-Fetch-Site: same-origin` is the browser's own word and comes first; without it `Origin`
//! must be our own origin, or one the mount allows, compared exactly with scheme and port. Neither:
//! refused, when the call uses a cookie; a call that only sets cookies is refused when one of them
//! names a foreign page, a page of a neighbouring host (`same-site`) included. A bearer token needs no
//! such proof, because no browser attaches one by itself.

use http::{HeaderMap, HeaderValue};

use crate::api::Call;
use crate::api::error::ApiError;
use crate::api::settings::Settings;
use crate::types::net::Scheme;

/// Refuses a cookie-borne write that cannot be shown to be ours.
pub fn check(call: &Call, headers: &HeaderMap, settings: &Settings) -> Result<(), ApiError> {
    match judge(call, headers, settings) {
        Origin::Ours => Ok(()),
        Origin::Foreign | Origin::Untold => Err(ApiError::CrossSite),
    }
}

/// Refuses a call that would set cookies for a page that is known to be foreign. A client that
/// says nothing is no browser and has no cookies to confuse.
pub fn check_told(call: &Call, headers: &HeaderMap, settings: &Settings) -> Result<(), ApiError> {
    match judge(call, headers, settings) {
        Origin::Ours | Origin::Untold => Ok(()),
        Origin::Foreign => Err(ApiError::CrossSite),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Ours,
    Foreign,
    Untold,
}

fn judge(call: &Call, headers: &HeaderMap, settings: &Settings) -> Origin {
    let mut origins = headers.get_all(http::header::ORIGIN).iter();
    let origin = origins.next().map(|value| value.to_str().unwrap_or("null"));
    if origins.next().is_some() {
        return Origin::Foreign;
    }
    let allowed =
        origin.is_some_and(|origin| call.mount.allowed_origins.iter().any(|a| a == origin));
    if allowed {
        return Origin::Ours;
    }
    let mut sites = headers.get_all("sec-fetch-site").iter();
    match (sites.next().map(HeaderValue::as_bytes), sites.next()) {
        (Some(b"same-origin"), None) => return Origin::Ours,
        // Nobody's page: typed in, or from a bookmark.
        (Some(b"none") | None, None) => {}
        _ => return Origin::Foreign,
    }
    match origin {
        Some(origin) if is_own(origin, call.scheme, &call.host, settings) => Origin::Ours,
        Some(_) => Origin::Foreign,
        None => Origin::Untold,
    }
}

/// Whether an origin is our own: the configured one, else the one that was called.
pub fn is_own(origin: &str, scheme: Scheme, host: &str, settings: &Settings) -> bool {
    match &settings.public_origin {
        Some(own) => own == origin,
        None => origin
            .strip_prefix(scheme.as_str())
            .and_then(|rest| rest.strip_prefix("://"))
            .is_some_and(|authority| authority.eq_ignore_ascii_case(host)),
    }
}

/// Whether any mount lets pages of this origin call.
pub fn is_allowed(origin: &str, settings: &Settings) -> bool {
    let mut mounts = settings.mounts.iter();
    mounts.any(|mount| {
        mount
            .allowed_origins
            .iter()
            .any(|allowed| allowed == origin)
    })
}
