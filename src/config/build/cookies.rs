//! `[cookies]`: names and attributes.
//!
//! A cookie that is `Secure` and has no `Domain` is called `__Host-…`: browsers then refuse one that
//! a neighbouring host or a plain-HTTP page tries to put in its place (RFC 6265bis, 4.1.3).

use crate::api::settings::Cookies as Settings;
use crate::config::build::names;
use crate::config::build::reader::Reader;
use crate::config::raw::Cookies;

/// The cookies' settings.
pub(super) fn build(
    reader: &mut Reader<'_>,
    cookies: &Cookies,
    public_origin: Option<&str>,
    tls: bool,
) -> Settings {
    let secure = secure(reader, cookies, public_origin, tls);
    let domain = domain(reader, &cookies.domain);
    let same_sites = [("Lax", "Lax"), ("Strict", "Strict"), ("None", "None")];
    let same_site = reader
        .word("cookies.same_site", &cookies.same_site, &same_sites)
        .unwrap_or("Lax");
    if same_site == "None" && !secure {
        reader.refuse_with(
            "cookies.same_site",
            "browsers drop cookies with SameSite=None that are not Secure",
            "set server.public_url to the https address, or cookies.secure = true",
        );
    }
    let prefix = &cookies.name_prefix;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(plain) || prefix.starts_with("__") {
        reader.refuse_with(
            "cookies.name_prefix",
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

/// `auto` follows the scheme of `server.public_url`; without one it follows the listener.
fn secure(
    reader: &mut Reader<'_>,
    cookies: &Cookies,
    public_origin: Option<&str>,
    tls: bool,
) -> bool {
    let https = public_origin.map_or(tls, |origin| origin.starts_with("https://"));
    let words = [
        ("auto", Secure::Auto),
        ("true", Secure::Yes),
        ("false", Secure::No),
    ];
    let insecure = match reader.word("cookies.secure", &cookies.secure, &words) {
        Some(Secure::Auto) | None => return https,
        Some(Secure::Yes) => return true,
        Some(Secure::No) => https,
    };
    if insecure && cookies.danger_insecure {
        reader.danger("cookies.danger_insecure");
    } else if insecure {
        reader.refuse_with(
            "cookies.secure",
            "cookies of an https origin would also travel unencrypted",
            "leave it at \"auto\"; danger_insecure = true admits it",
        );
    }
    false
}

#[derive(Clone, Copy)]
enum Secure {
    Auto,
    Yes,
    No,
}

fn domain(reader: &mut Reader<'_>, text: &str) -> Option<String> {
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
            "cookies.domain",
            "is no domain that cookies can be shared under",
            "write \"example.org\", or leave it empty for this host only",
        );
    }
    Some(bare.to_ascii_lowercase())
}
