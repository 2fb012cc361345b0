//! `[upstream]` to the proxy's settings.

use crate::api::settings::Cookies;
use crate::config::build::names;
use crate::config::build::reader::Reader;
use crate::config::key::Key;
use crate::config::keys::{headers, upstream};
use crate::config::tree::item;
use crate::proxy::settings::{Address, Settings, Tls};

/// The proxy's settings; `None` without a usable address, which is then recorded as a mistake.
pub(super) fn build(reader: &mut Reader<'_>, cookies: &Cookies) -> Option<Settings> {
    let connect_timeout = reader.get(&upstream::CONNECT_TIMEOUT);
    let response_timeout = reader.get(&upstream::RESPONSE_TIMEOUT);
    let idle_timeout = reader.get(&upstream::IDLE_TIMEOUT);
    let queue_timeout = reader.get(&upstream::QUEUE_TIMEOUT);
    let stream_idle_timeout = reader.get(&upstream::STREAM_IDLE_TIMEOUT);
    let max_age = reader.get(&upstream::MAX_AGE);
    let max_connections = reader.get(&upstream::MAX_CONNECTIONS);
    let max_upgraded = reader.get(&upstream::MAX_UPGRADED);
    Some(Settings {
        upstream: address(reader)?,
        connect_timeout,
        response_timeout,
        queue_timeout,
        stream_idle_timeout,
        idle_timeout,
        max_age,
        preserve_host: reader.get(&upstream::PRESERVE_HOST),
        pass_authorization: reader.get(&headers::PASS_AUTHORIZATION),
        managed: Vec::new(),
        cookies: cookies.names(),
        max_connections: max_connections as usize,
        upgrades: upgrades(reader),
        max_upgraded: max_upgraded as usize,
    })
}

/// Protocols that a request may switch to. HTTP/2 is refused: the requests after the switch would not be
/// authorized.
fn upgrades(reader: &mut Reader<'_>) -> Vec<String> {
    let names = reader.get(&upstream::UPGRADES);
    for (index, name) in names.iter().enumerate() {
        let at = item(upstream::UPGRADES.path(), index);
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&b);
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token) {
            reader.refuse_with(&at, "is no protocol", "write a name such as \"websocket\"");
        } else if lower == "h2c" || lower.starts_with("http/") || lower.starts_with("tls") {
            reader.refuse_with(
                &at,
                "would carry requests that are not authorized",
                "HTTP/2 needs no upgrade: clients may begin with it",
            );
        }
    }
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}

fn address(reader: &mut Reader<'_>) -> Option<Address> {
    let key = upstream::URL.path();
    let url = reader.get(&upstream::URL);
    let secure = url.strip_prefix("https://");
    let tls = tls(reader, secure.is_some() || url.is_empty());
    if url.is_empty() {
        reader.refuse_with(
            key,
            "is not set, so there is nothing to forward to",
            "write url = \"http://127.0.0.1:3000\" under [upstream], or set SIDEGATE__UPSTREAM__URL",
        );
        return None;
    }
    if let Some(path) = url.strip_prefix("unix:") {
        let path = reader.resolve(&upstream::URL.declaration, key, path);
        if !names::fits_socket(&path) {
            reader.refuse(key, "a socket path is 1 to 107 bytes long");
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
            key,
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

/// TLS towards the upstream. A key of it that is set for an upstream without TLS is a mistake: the
/// operator expects a protection that would not be there.
fn tls(reader: &mut Reader<'_>, secure: bool) -> Tls {
    let ca = reader.get(&upstream::TLS_CA);
    let cert = reader.get(&upstream::TLS_CERT);
    let key = reader.get(&upstream::TLS_KEY);
    let server_name = reader.get(&upstream::TLS_SERVER_NAME);
    if !secure {
        unused(reader, &upstream::TLS_CA, ca.is_some());
        unused(reader, &upstream::TLS_CERT, cert.is_some());
        unused(reader, &upstream::TLS_KEY, key.is_some());
        unused(reader, &upstream::TLS_SERVER_NAME, !server_name.is_empty());
    }
    match (&cert, &key) {
        (Some(_), None) => {
            reader.refuse(
                upstream::TLS_CERT.path(),
                "needs upstream.tls.key beside it",
            );
        }
        (None, Some(_)) => {
            reader.refuse(
                upstream::TLS_KEY.path(),
                "needs upstream.tls.cert beside it",
            );
        }
        (None, None) | (Some(_), Some(_)) => {}
    }
    if !server_name.is_empty() && !names::is_host(server_name) {
        reader.refuse(
            upstream::TLS_SERVER_NAME.path(),
            "is no host name and no address",
        );
    }
    let bare = server_name.trim_start_matches('[').trim_end_matches(']');
    Tls {
        ca,
        identity: cert.zip(key),
        server_name: (!bare.is_empty()).then(|| bare.to_owned()),
    }
}

fn unused<K>(reader: &mut Reader<'_>, key: &Key<K>, is_set: bool) {
    if is_set {
        reader.refuse(
            key.path(),
            "is for an upstream.url that begins with https://",
        );
    }
}
