//! Writes our cookies: `HttpOnly`, `Path=/`, `Secure` and `SameSite` as configured, host-only unless a
//! domain is set (RFC 6265bis). `guard::extract` reads them.
//!
//! Invariant: no cache may store an answer that sets or removes one of our cookies. Every function here
//! uses one function that ensures this.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use crate::api::settings::{Cookies, Delivery, HOST_PREFIX};
use crate::guard::caching;
use crate::service::Grant;
use crate::types::ids::DeviceId;
use crate::types::time::Timestamp;

/// How long a device keeps its id.
pub const DEVICE_LIFE: Duration = Duration::from_secs(400 * 86_400);

/// Sets the cookies of the tokens that this delivery puts into cookies. The refresh cookie lasts as long as the
/// session can: activity moves the idle limit in the store, and no cookie is set again for it.
pub fn set_tokens(
    headers: &mut HeaderMap,
    cookies: &Cookies,
    delivery: Delivery,
    grant: &Grant,
    now: Timestamp,
) {
    if delivery == Delivery::Cookies {
        let life = grant.access_expires_at.since(now);
        set(
            headers,
            cookies,
            &cookies.access,
            grant.access.expose(),
            life,
        );
    }
    if delivery != Delivery::Json {
        let life = grant.session.expires_at.since(now);
        set(
            headers,
            cookies,
            &cookies.refresh,
            grant.refresh.expose(),
            life,
        );
    }
}

/// Sets the cookie with the id of the device.
pub fn name_device(headers: &mut HeaderMap, cookies: &Cookies, device: DeviceId) {
    set(
        headers,
        cookies,
        &cookies.device,
        &device.to_string(),
        DEVICE_LIFE,
    );
}

/// Adds a `Set-Cookie`. The value is one of our tokens or ids: plain ASCII.
fn set(headers: &mut HeaderMap, cookies: &Cookies, name: &str, value: &str, life: Duration) {
    append(
        headers,
        &line(Attributes::of(cookies, name), name, value, life.as_secs()),
    );
}

/// Removes a cookie from the browser.
pub fn clear(headers: &mut HeaderMap, cookies: &Cookies, name: &str) {
    clear_at(headers, cookies, name, cookies.domain.as_deref());
}

/// Removes from the browser the copy of a cookie that belongs to this domain, or to this host only.
pub(super) fn clear_at(
    headers: &mut HeaderMap,
    cookies: &Cookies,
    name: &str,
    domain: Option<&str>,
) {
    let attributes = Attributes {
        domain,
        ..Attributes::of(cookies, name)
    };
    append(headers, &line(attributes, name, "", 0));
}

/// The attributes of a cookie.
#[derive(Debug, Clone, Copy)]
struct Attributes<'a> {
    secure: bool,
    same_site: &'a str,
    domain: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    fn of(cookies: &'a Cookies, name: &str) -> Self {
        Self {
            // Without `Secure`, browsers ignore a `Set-Cookie` of this name, even one that removes the cookie.
            secure: cookies.secure || name.starts_with(HOST_PREFIX),
            same_site: cookies.same_site,
            domain: cookies.domain.as_deref(),
        }
    }
}

fn line(attributes: Attributes<'_>, name: &str, value: &str, max_age: u64) -> String {
    let mut line = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly");
    if attributes.secure {
        line.push_str("; Secure");
    }
    // Writing to a string cannot fail.
    let _ = write!(line, "; SameSite={}", attributes.same_site);
    if let Some(domain) = attributes.domain {
        let _ = write!(line, "; Domain={domain}");
    }
    line
}

/// The one place where a `Set-Cookie` of ours is written.
fn append(headers: &mut HeaderMap, line: &str) {
    if let Ok(mut value) = HeaderValue::from_str(line) {
        value.set_sensitive(true);
        headers.append(header::SET_COOKIE, value);
        caching::forbid(headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies() -> Cookies {
        Cookies {
            access: "__Host-sidegate_access".to_owned(),
            refresh: "__Host-sidegate_refresh".to_owned(),
            device: "__Host-sidegate_device".to_owned(),
            secure: true,
            same_site: "Lax",
            domain: None,
        }
    }

    #[test]
    fn a_cookie_carries_every_attribute_that_protects_it() {
        let mut headers = HeaderMap::new();
        let cookies = cookies();
        set(
            &mut headers,
            &cookies,
            &cookies.access,
            "abc",
            Duration::from_secs(900),
        );
        assert_eq!(
            headers.get(header::SET_COOKIE).unwrap(),
            "__Host-sidegate_access=abc; Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Lax"
        );
    }

    #[test]
    fn an_answer_that_sets_a_cookie_is_not_stored() {
        let mut headers = HeaderMap::new();
        headers.insert("cdn-cache-control", HeaderValue::from_static("max-age=9"));
        headers.insert(header::EXPIRES, HeaderValue::from_static("x"));
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static("public"));
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static("max-age=9"));
        clear(&mut headers, &cookies(), "sidegate_access");
        let said: Vec<_> = headers.get_all(header::CACHE_CONTROL).iter().collect();
        assert_eq!(said, ["private, no-store"]);
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn clearing_keeps_the_attributes_that_identify_the_cookie() {
        let mut headers = HeaderMap::new();
        let cookies = Cookies {
            domain: Some("example.org".to_owned()),
            ..cookies()
        };
        clear(&mut headers, &cookies, "sidegate_access");
        assert_eq!(
            headers.get(header::SET_COOKIE).unwrap(),
            "sidegate_access=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax; \
             Domain=example.org"
        );
    }
}
