//! `[cookies]`: names and attributes.
//!
//! A cookie that is `Secure` and has no `Domain` is named `__Host-…`. Browsers then refuse a cookie of
//! that name from a neighbouring host or a plain-HTTP page (RFC 6265bis, 4.1.3).

use crate::api::settings::Cookies as Settings;
use crate::config::build::reader::Reader;
use crate::config::build::{names, tls};
use crate::config::keys::cookies::{self, Secure};
use crate::types::net::Scheme;
use crate::types::origin::Origin;

/// The cookies' settings.
pub(super) fn build(reader: &mut Reader<'_>, public_origin: Option<&Origin>) -> Settings {
    let secure = secure(reader, public_origin);
    let domain = domain(reader);
    let same_site = reader.get(&cookies::SAME_SITE).unwrap_or("Lax");
    if same_site == "None" && !secure {
        reader.refuse_with(
            cookies::SAME_SITE.path(),
            "browsers drop cookies with SameSite=None that are not Secure",
            "set server.public_url to the https address, or cookies.secure = true",
        );
    }
    let prefix = reader.get(&cookies::NAME_PREFIX);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(plain) || prefix.starts_with("__") {
        reader.refuse_with(
            cookies::NAME_PREFIX.path(),
            "is no beginning of a cookie's name",
            "write 1 to 64 of A-Z a-z 0-9 _ -, not beginning with \"__\"",
        );
    }
    let host = if secure && domain.is_none() {
        "__Host-"
    } else {
        ""
    };
    Settings {
        access: format!("{host}{prefix}_access"),
        refresh: format!("{host}{prefix}_refresh"),
        device: format!("{host}{prefix}_device"),
        secure,
        same_site,
        domain,
    }
}

/// `auto` is the scheme of `server.public_url`, or without it the scheme of the listener.
fn secure(reader: &mut Reader<'_>, public_origin: Option<&Origin>) -> bool {
    let https = match public_origin {
        Some(origin) => origin.scheme() == Scheme::Https,
        None => tls::is_on(reader),
    };
    let insecure = match reader.get(&cookies::SECURE) {
        Some(Secure::Auto) | None => return https,
        Some(Secure::Yes) => return true,
        Some(Secure::No) => https,
    };
    if insecure && reader.get(&cookies::DANGER_INSECURE) {
        reader.danger(&cookies::DANGER_INSECURE);
    } else if insecure {
        reader.refuse_with(
            cookies::SECURE.path(),
            "cookies of an https origin would also travel unencrypted",
            "leave it at \"auto\"; danger_insecure = true admits it",
        );
    }
    false
}

fn domain(reader: &mut Reader<'_>) -> Option<String> {
    let text = reader.get(&cookies::DOMAIN);
    let bare = text.strip_prefix('.').unwrap_or(text);
    if bare.is_empty() && text.is_empty() {
        return None;
    }
    let numeric = bare
        .rsplit('.')
        .next()
        .is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if !names::is_dns_name(bare) || !bare.contains('.') || numeric {
        reader.refuse_with(
            cookies::DOMAIN.path(),
            "is no domain that cookies can be shared under",
            "write \"example.org\", or leave it empty for this host only",
        );
    }
    Some(bare.to_ascii_lowercase())
}
