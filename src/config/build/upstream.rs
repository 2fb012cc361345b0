//! `[upstream]` to the proxy's settings.

use std::path::PathBuf;
use std::time::Duration;

use crate::api::settings::Cookies;
use crate::config::build::desk::{DAY, Desk, HOUR, MINUTE, secs};
use crate::config::build::names;
use crate::config::raw::Raw;
use crate::proxy::settings::{Address, Settings};

/// The proxy's settings; `None` without a usable address, which is then on the desk.
pub(super) fn build(desk: &mut Desk<'_>, raw: &Raw, cookies: &Cookies) -> Option<Settings> {
    let upstream = &raw.upstream;
    let least = Duration::from_millis(10);
    let connect_timeout = desk.duration(
        "upstream.connect_timeout",
        &upstream.connect_timeout,
        least..=secs(5 * MINUTE),
    );
    let response_timeout = desk.duration_or_none(
        "upstream.response_timeout",
        &upstream.response_timeout,
        least..=secs(DAY),
    );
    let idle_timeout = desk.duration_or_none(
        "upstream.idle_timeout",
        &upstream.idle_timeout,
        least..=secs(HOUR),
    );
    let max_connections = desk.number(
        "upstream.max_connections",
        upstream.max_connections,
        1..=65_536,
    );
    let max_upgraded = desk.number(
        "upstream.max_upgraded",
        upstream.max_upgraded,
        0..=1_000_000,
    );
    Some(Settings {
        upstream: address(desk, &upstream.url)?,
        connect_timeout,
        response_timeout,
        idle_timeout,
        preserve_host: upstream.preserve_host,
        pass_authorization: raw.headers.pass_authorization,
        managed: Vec::new(),
        cookies: vec![
            cookies.access.clone(),
            cookies.refresh.clone(),
            cookies.device.clone(),
        ],
        max_connections: max_connections as usize,
        upgrades: upgrades(desk, &upstream.upgrades),
        max_upgraded: max_upgraded as usize,
    })
}

/// Protocols that requests may switch to. Not HTTP/2: behind a switch nobody would judge what is
/// asked for.
fn upgrades(desk: &mut Desk<'_>, names: &[String]) -> Vec<String> {
    for (index, name) in names.iter().enumerate() {
        let key = format!("upstream.upgrades[{}]", index + 1);
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&b);
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token) {
            desk.refuse_with(&key, "is no protocol", "write a name such as \"websocket\"");
        } else if lower == "h2c" || lower.starts_with("http/") || lower.starts_with("tls") {
            desk.refuse_with(
                &key,
                "would carry requests that nobody judges",
                "HTTP/2 needs no upgrade: clients may begin with it",
            );
        }
    }
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

fn address(desk: &mut Desk<'_>, url: &str) -> Option<Address> {
    const KEY: &str = "upstream.url";
    if url.is_empty() {
        desk.refuse_with(
            KEY,
            "is not set, so there is nothing to forward to",
            "write url = \"http://127.0.0.1:3000\" under [upstream], or set SIDEGATE__UPSTREAM__URL",
        );
        return None;
    }
    if let Some(path) = url.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        if !names::fits_socket(&path) {
            desk.refuse(KEY, "a socket path is 1 to 107 bytes long");
            return None;
        }
        return Some(Address::Unix(path));
    }
    if url.starts_with("https://") || url.starts_with("h2c://") {
        desk.refuse(
            KEY,
            "this version speaks HTTP/1.1 to the upstream; https and h2c come later",
        );
        return None;
    }
    let tcp = url.strip_prefix("http://").and_then(tcp);
    if tcp.is_none() {
        desk.refuse_with(
            KEY,
            "is no address of an upstream",
            "write \"http://host:port\" without a path, or \"unix:/path\"",
        );
    }
    tcp
}

fn tcp(authority: &str) -> Option<Address> {
    let (host, port) = names::split_port(authority)?;
    if !names::is_host(host) || port == Some(0) {
        return None;
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Some(Address::Tcp {
        host: bare.to_owned(),
        port: port.unwrap_or(80),
    })
}
