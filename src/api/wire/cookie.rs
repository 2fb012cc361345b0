//! Our cookies, written: `HttpOnly`, `Path=/`, `Secure` and `SameSite` as configured, host-only
//! unless a domain is set (RFC 6265bis). Reading them is `guard::extract`'s business.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use crate::api::settings::{Cookies, Delivery};
use crate::service::Grant;
use crate::types::ids::DeviceId;
use crate::types::time::Timestamp;

/// How long a device keeps its id.
pub const DEVICE_LIFE: Duration = Duration::from_secs(400 * 86_400);

/// Puts the tokens into cookies, as far as they travel that way.
pub fn hand_over(
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
        let life = grant.session.ends_at().since(now);
        set(
            headers,
            cookies,
            &cookies.refresh,
            grant.refresh.expose(),
            life,
        );
    }
}

/// Gives a browser the id its device is known by.
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
    append(headers, &line(cookies, name, value, life.as_secs()));
}

/// Tells the browser to forget a cookie.
pub fn clear(headers: &mut HeaderMap, cookies: &Cookies, name: &str) {
    append(headers, &line(cookies, name, "", 0));
}

fn line(cookies: &Cookies, name: &str, value: &str, max_age: u64) -> String {
    let mut line = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly");
    if cookies.secure {
        line.push_str("; Secure");
    }
    // Writing to a string cannot fail.
    let _ = write!(line, "; SameSite={}", cookies.same_site);
    if let Some(domain) = &cookies.domain {
        let _ = write!(line, "; Domain={domain}");
    }
    line
}

fn append(headers: &mut HeaderMap, line: &str) {
    if let Ok(mut value) = HeaderValue::from_str(line) {
        value.set_sensitive(true);
        headers.append(header::SET_COOKIE, value);
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
