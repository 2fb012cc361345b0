//! `[upstream]` to the proxy's settings.

use std::path::PathBuf;
use std::time::Duration;

use crate::api::settings::Cookies;
use crate::config::build::names;
use crate::config::build::reader::{DAY, HOUR, MINUTE, Reader, secs};
use crate::config::raw::{Raw, Upstream, UpstreamTls};
use crate::proxy::settings::{Address, Settings, Tls};

/// The proxy's settings; `None` without a usable address, which is then on the reader.
pub(super) fn build(reader: &mut Reader<'_>, raw: &Raw, cookies: &Cookies) -> Option<Settings> {
    let upstream = &raw.upstream;
    let least = Duration::from_millis(10);
    let connect_timeout = reader.duration(
        "upstream.connect_timeout",
        &upstream.connect_timeout,
        least..=secs(5 * MINUTE),
    );
    let response_timeout = reader.duration_or_none(
        "upstream.response_timeout",
        &upstream.response_timeout,
        least..=secs(DAY),
    );
    let idle_timeout = reader.duration_or_none(
        "upstream.idle_timeout",
        &upstream.idle_timeout,
        least..=secs(HOUR),
    );
    let queue_timeout = reader.duration(
        "upstream.queue_timeout",
        &upstream.queue_timeout,
        least..=secs(5 * MINUTE),
    );
    let stream_idle_timeout = reader.duration_or_none(
        "upstream.stream_idle_timeout",
        &upstream.stream_idle_timeout,
        least..=secs(7 * DAY),
    );
    let max_age = reader.duration_or_none(
        "upstream.max_age",
        &upstream.max_age,
        secs(1)..=secs(7 * DAY),
    );
    let max_connections = reader.number(
        "upstream.max_connections",
        upstream.max_connections,
        1..=65_536,
    );
    let max_upgraded = reader.number(
        "upstream.max_upgraded",
        upstream.max_upgraded,
        0..=1_000_000,
    );
    Some(Settings {
        upstream: address(reader, upstream)?,
        connect_timeout,
        response_timeout,
        queue_timeout,
        stream_idle_timeout,
        idle_timeout,
        max_age,
        preserve_host: upstream.preserve_host,
        pass_authorization: raw.headers.pass_authorization,
        managed: Vec::new(),
        cookies: cookies.names(),
        max_connections: max_connections as usize,
        upgrades: upgrades(reader, &upstream.upgrades),
        max_upgraded: max_upgraded as usize,
    })
}

/// Protocols that requests may switch to. Not HTTP/2: behind a switch nobody would judge what is
/// asked for.
fn upgrades(reader: &mut Reader<'_>, names: &[String]) -> Vec<String> {
    for (index, name) in names.iter().enumerate() {
        let key = format!("upstream.upgrades[{}]", index + 1);
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&b);
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token) {
            reader.refuse_with(&key, "is no protocol", "write a name such as \"websocket\"");
        } else if lower == "h2c" || lower.starts_with("http/") || lower.starts_with("tls") {
            reader.refuse_with(
                &key,
                "would carry requests that nobody judges",
                "HTTP/2 needs no upgrade: clients may begin with it",
            );
        }
    }
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

fn address(reader: &mut Reader<'_>, upstream: &Upstream) -> Option<Address> {
    const KEY: &str = "upstream.url";
    let url = upstream.url.as_str();
    let secure = url.strip_prefix("https://");
    let tls = tls(reader, &upstream.tls, secure.is_some() || url.is_empty());
    if url.is_empty() {
        reader.refuse_with(
            KEY,
            "is not set, so there is nothing to forward to",
            "write url = \"http://127.0.0.1:3000\" under [upstream], or set SIDEGATE__UPSTREAM__URL",
        );
        return None;
    }
    if let Some(path) = url.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        if !names::fits_socket(&path) {
            reader.refuse(KEY, "a socket path is 1 to 107 bytes long");
            return None;
        }
        return Some(Address::Unix(path));
    }
    let address = if let Some(authority) = secure {
        place(authority, 443).map(|(host, port)| Address::Tls { host, port, tls })
    } else if let Some(authority) = url.strip_prefix("h2c://") {
        place(authority, 80).map(|(host, port)| Address::H2c { host, port })
    } else {
        let place = url.strip_prefix("http://").and_then(|rest| place(rest, 80));
        place.map(|(host, port)| Address::Tcp { host, port })
    };
    if address.is_none() {
        reader.refuse_with(
            KEY,
            "is no address of an upstream",
            "write \"http://host:port\", \"https://host:port\" or \"h2c://host:port\" without a path, \
             or \"unix:/path\"",
        );
    }
    address
}

/// Host without brackets, and port.
fn place(authority: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = names::split_port(authority)?;
    if !names::is_host(host) || port == Some(0) {
        return None;
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Some((bare.to_owned(), port.unwrap_or(default)))
}

/// TLS towards the upstream. What is said of it for an upstream without TLS is a mistake: somebody
/// believes that the way there is protected.
fn tls(reader: &mut Reader<'_>, raw: &UpstreamTls, secure: bool) -> Tls {
    let keys = [
        ("upstream.tls.ca", &raw.ca),
        ("upstream.tls.cert", &raw.cert),
        ("upstream.tls.key", &raw.key),
        ("upstream.tls.server_name", &raw.server_name),
    ];
    for (key, value) in keys {
        if !secure && !value.is_empty() {
            reader.refuse(key, "is for an upstream.url that begins with https://");
        }
    }
    match (raw.cert.is_empty(), raw.key.is_empty()) {
        (false, true) => reader.refuse("upstream.tls.cert", "needs upstream.tls.key beside it"),
        (true, false) => reader.refuse("upstream.tls.key", "needs upstream.tls.cert beside it"),
        (true, true) | (false, false) => {}
    }
    if !raw.server_name.is_empty() && !names::is_host(&raw.server_name) {
        reader.refuse("upstream.tls.server_name", "is no host name and no address");
    }
    let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    let bare = raw
        .server_name
        .trim_start_matches('[')
        .trim_end_matches(']');
    Tls {
        ca: path(&raw.ca),
        identity: path(&raw.cert).zip(path(&raw.key)),
        server_name: (!bare.is_empty()).then(|| bare.to_owned()),
    }
}
