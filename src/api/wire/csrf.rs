//! Does a call come from a page of ours?
//!
//! `Sec-Fetch-Site: same-origin`, which no page can set itself, is sufficient. Otherwise `Origin` must be our own
//! origin or one that the mount allows. A call that uses a cookie is refused without this proof. A call that only
//! sets cookies is refused when one of the headers names a foreign page; a page of a neighbouring host
//! (`same-site`) is foreign. A bearer token needs no proof, because no browser sends one by itself.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue};

use crate::api::settings::{Mount, Settings};
use crate::types::header::at_most_once;
use crate::types::origin::Origin;

/// The page that a call comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A page of this site or of an allowed origin.
    Own,
    /// Another page.
    Foreign,
    /// The request does not name its page.
    Unknown,
}

/// The page that a request for the origin `called` comes from.
pub fn source(headers: &HeaderMap, called: &Origin, mount: &Mount, settings: &Settings) -> Source {
    let Ok(origin) = at_most_once(headers, ORIGIN) else {
        return Source::Foreign;
    };
    let parsed: Option<Origin> = origin.and_then(|value| Origin::sent(value.to_str().ok()?).ok());
    if parsed
        .as_ref()
        .is_some_and(|origin| mount.allowed_origins.contains(origin))
    {
        return Source::Own;
    }
    match at_most_once(headers, "sec-fetch-site").map(|site| site.map(HeaderValue::as_bytes)) {
        Ok(Some(b"same-origin")) => return Source::Own,
        // `none`: the address was typed in, or it is a bookmark.
        Ok(Some(b"none") | None) => {}
        Ok(Some(_)) | Err(_) => return Source::Foreign,
    }
    match (origin, parsed) {
        (None, _) => Source::Unknown,
        (Some(_), Some(origin)) if is_own(&origin, called, settings) => Source::Own,
        (Some(_), _) => Source::Foreign,
    }
}

/// Whether an origin is our own: that of `server.public_url`, or without one the origin that was called.
pub fn is_own(origin: &Origin, called: &Origin, settings: &Settings) -> bool {
    settings.public_origin.as_ref().unwrap_or(called) == origin
}

/// Whether a mount allows calls from pages of this origin.
pub fn is_allowed(origin: &Origin, settings: &Settings) -> bool {
    let mut mounts = settings.mounts.iter();
    mounts.any(|mount| mount.allowed_origins.contains(origin))
}
