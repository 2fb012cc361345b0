//! `[server]`, `[admin]`, `[paths]`, `[log]` to the server's settings.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use tracing::level_filters::LevelFilter;

use crate::config::build::reader::{HOUR, MINUTE, Reader, secs};
use crate::config::build::{names, tls};
use crate::config::hint::nearest;
use crate::config::raw::{Log, Paths, Raw, Server};
use crate::server::settings::{AccessLogTarget, Listen, Settings};
use crate::store::settings::Engine;
use crate::store::settings::Settings as StoreSettings;
use crate::telemetry::settings::Settings as LogSettings;
use crate::types::net::{self, BadNetwork, TrustedProxies};
use crate::types::path::{Allow, Allowances};

/// The server's settings, and the trusted networks as they were stated.
pub(super) fn build(
    reader: &mut Reader<'_>,
    raw: &Raw,
    cores: NonZeroUsize,
    store: &StoreSettings,
    keys_dir: &Path,
) -> (Settings, Vec<IpNet>) {
    let server = &raw.server;
    let (trusted_proxies, networks) = trusted(reader, server);
    let listen = listen(reader, server);
    let admin = admin(reader, &raw.admin.listen, &listen);
    let redirect_listen = redirect(reader, server, &listen);
    if server.proxy_protocol && trusted_proxies.is_empty() {
        reader.refuse_with(
            "server.proxy_protocol",
            "nobody is trusted to send the header",
            "list the balancer's addresses in server.trusted_proxies",
        );
    }
    let threads = match reader.number("server.threads", server.threads, 0..=1_024) {
        0 => cores.get(),
        some => some as usize,
    };
    let settings = Settings {
        listen,
        admin,
        control: control(reader, &server.control, store, keys_dir),
        threads,
        trusted_proxies,
        max_connections: reader.number(
            "server.max_connections",
            server.max_connections,
            1..=1_000_000,
        ) as usize,
        max_connections_per_address: reader.number(
            "server.max_connections_per_address",
            server.max_connections_per_address,
            1..=1_000_000,
        ) as usize,
        header_timeout: reader.duration(
            "server.header_timeout",
            &server.header_timeout,
            secs(1)..=secs(5 * MINUTE),
        ),
        body_rate: u64::from(reader.number("server.body_rate", server.body_rate, 0..=1_000_000)),
        handshake_timeout: tls::handshake_timeout(reader, &server.tls),
        tls_reload_interval: tls::reload_interval(reader, &server.tls),
        proxy_protocol: server.proxy_protocol,
        tls: tls::build(reader, server),
        client_subject_header: tls::subject_header(reader, &server.tls),
        redirect_listen,
        drain_delay: reader.duration(
            "server.drain_delay",
            &server.drain_delay,
            Duration::ZERO..=secs(10 * MINUTE),
        ),
        drain_timeout: reader.duration(
            "server.drain_timeout",
            &server.drain_timeout,
            Duration::ZERO..=secs(HOUR),
        ),
        hosts: hosts(reader, server),
        paths: paths(reader, &raw.paths),
        access_log: raw.log.access,
        json_logs: raw.log.format == "json",
        access_log_target: if raw.log.access_file.is_empty() {
            AccessLogTarget::Stdout
        } else {
            AccessLogTarget::File(PathBuf::from(&raw.log.access_file))
        },
    };
    (settings, networks)
}

/// `server.public_url` as an origin.
pub(super) fn public_origin(reader: &mut Reader<'_>, server: &Server) -> Option<String> {
    if server.public_url.is_empty() {
        return None;
    }
    let origin = names::origin(&server.public_url);
    if origin.is_none() {
        reader.refuse_with(
            "server.public_url",
            "is no origin",
            "write scheme, host and port only, such as \"https://app.example.org\"",
        );
    }
    origin
}

/// `[log]`.
pub(super) fn log(reader: &mut Reader<'_>, log: &Log) -> LogSettings {
    let levels = [
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
        ("off", LevelFilter::OFF),
    ];
    let json = [("text", false), ("json", true)];
    LogSettings {
        level: reader
            .word("log.level", &log.level, &levels)
            .unwrap_or(LevelFilter::INFO),
        json: reader
            .word("log.format", &log.format, &json)
            .unwrap_or_default(),
    }
}

fn listen(reader: &mut Reader<'_>, server: &Server) -> Listen {
    if let Some(path) = server.listen.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        if !names::fits_socket(&path) {
            reader.refuse("server.listen", "a socket path is 1 to 107 bytes long");
        }
        return Listen::Unix(path);
    }
    if let Ok(address) = server.listen.parse() {
        Listen::Tcp(address)
    } else {
        reader.refuse_with(
            "server.listen",
            "is no address",
            "write \"127.0.0.1:8080\", \"0.0.0.0:8080\", \"[::1]:8080\" or \
             \"unix:/run/sidegate.sock\"",
        );
        Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// The listener that only sends clients to https. Its port is no business of the public one's.
fn redirect(reader: &mut Reader<'_>, server: &Server, listen: &Listen) -> Option<SocketAddr> {
    const KEY: &str = "server.redirect_listen";
    if server.redirect_listen.is_empty() {
        return None;
    }
    let Ok(address) = server.redirect_listen.parse::<SocketAddr>() else {
        reader.refuse_with(
            KEY,
            "is no address",
            "write \"0.0.0.0:80\", or \"\" to turn it off",
        );
        return None;
    };
    if *listen == Listen::Tcp(address) && address.port() != 0 {
        reader.refuse(KEY, "is the same address as server.listen");
    }
    if !tls::is_on(server) && !server.public_url.starts_with("https://") {
        reader.refuse_with(
            KEY,
            "there is no https to send clients to",
            "set [server.tls], or server.public_url to an https origin",
        );
    }
    Some(address)
}

fn admin(reader: &mut Reader<'_>, text: &str, listen: &Listen) -> Option<SocketAddr> {
    if text.is_empty() {
        return None;
    }
    let Ok(address) = text.parse::<SocketAddr>() else {
        reader.refuse_with(
            "admin.listen",
            "is no address",
            "write \"127.0.0.1:9180\", or \"\" to turn the admin port off",
        );
        return None;
    };
    if *listen == Listen::Tcp(address) && address.port() != 0 {
        reader.refuse("admin.listen", "is the same address as server.listen");
    }
    if !address.ip().is_loopback() {
        reader.warn(format!(
            "admin.listen = \"{address}\" shows health and numbers to whoever can reach it"
        ));
    }
    Some(address)
}

/// Where the control socket is. `auto` puts it into the store's directory: whoever may open the
/// store may give orders. A memory store has none, so there it lies beside the signing keys' folder,
/// which is private as well; never in a shared temporary folder, where another user could wait in
/// its place for passwords.
fn control(
    reader: &mut Reader<'_>,
    text: &str,
    store: &StoreSettings,
    keys_dir: &Path,
) -> Option<PathBuf> {
    let path = match (text, &store.engine) {
        ("", _) => return None,
        ("auto", Engine::Sled { path, .. }) => path.join(CONTROL_SOCKET),
        ("auto", Engine::Memory) => keys_dir
            .parent()
            .unwrap_or(Path::new(""))
            .join(CONTROL_SOCKET),
        (path, _) => PathBuf::from(path.strip_prefix("unix:").unwrap_or(path)),
    };
    if !names::fits_socket(&path) {
        reader.refuse_with(
            "server.control",
            format!("{} is too long for a socket", path.display()),
            "name a path of at most 107 bytes",
        );
    }
    Some(path)
}

/// `server.trusted_proxies`, as it is judged by and as it is shown. A list that cannot be used stops the
/// start; one that holds more than it seems to is warned of.
fn trusted(reader: &mut Reader<'_>, server: &Server) -> (TrustedProxies, Vec<IpNet>) {
    const KEY: &str = "server.trusted_proxies";
    let mut networks: Vec<IpNet> = Vec::new();
    for (index, text) in server.trusted_proxies.iter().enumerate() {
        let key = format!("{KEY}[{}]", index + 1);
        match net::network(text) {
            Ok(network) => {
                if network.addr() != network.network() {
                    let whole = network.trunc();
                    reader.warn(format!(
                        "{key} = {text:?} means all of {whole}; write that, or leave out the slash \
                         and the number to trust one address"
                    ));
                }
                if networks.contains(&network.trunc()) {
                    reader.warn(format!("{key} = {text:?} is listed twice"));
                } else {
                    networks.push(network.trunc());
                }
            }
            Err(bad @ BadNetwork::Malformed) => {
                reader.refuse_with(&key, bad.to_string(), bad.hint());
            }
            Err(bad) => reader.refuse_with(&key, format!("{text} {bad}"), bad.hint()),
        }
    }
    let list = TrustedProxies::try_new(networks.clone()).unwrap_or_else(|bad| {
        reader.refuse_with(KEY, format!("the list {bad}"), bad.hint());
        TrustedProxies::default()
    });
    (list, networks)
}

fn hosts(reader: &mut Reader<'_>, server: &Server) -> Vec<String> {
    let mut hosts = Vec::new();
    for (index, text) in server.hosts.iter().enumerate() {
        match names::host(text) {
            Some(host) => hosts.push(host),
            None => reader.refuse_with(
                &format!("server.hosts[{}]", index + 1),
                "is no host name",
                "write a name without scheme, port and path, such as \"app.example.org\"",
            ),
        }
    }
    if let Some(origin) = names::origin(&server.public_url)
        && let Some((_, authority)) = origin.split_once("://")
        && let Some((host, _)) = names::split_port(authority)
        && !hosts.is_empty()
        && !hosts.iter().any(|listed| listed == host)
    {
        reader.warn(format!(
            "server.public_url names {host}, which is not in server.hosts: every request that is sent \
             there is refused"
        ));
    }
    hosts
}

fn paths(reader: &mut Reader<'_>, paths: &Paths) -> Allowances {
    let everywhere = allow(reader, "paths.allow", &paths.allow);
    let mut by_prefix: Vec<(String, Allow)> = Vec::new();
    for (index, entry) in paths.prefix.iter().enumerate() {
        let key = format!("paths.prefix[{}]", index + 1);
        if !names::is_prefix(&entry.path) {
            reader.refuse_with(
                &format!("{key}.path"),
                "is no path prefix",
                "begin with \"/\" and leave out the slash at the end",
            );
        } else if by_prefix.iter().any(|(path, _)| *path == entry.path) {
            reader.refuse(&format!("{key}.path"), "is listed twice");
        }
        let admitted = allow(reader, &format!("{key}.allow"), &entry.allow);
        by_prefix.push((entry.path.clone(), admitted));
    }
    Allowances {
        everywhere,
        by_prefix,
    }
}

fn allow(reader: &mut Reader<'_>, key: &str, words: &[String]) -> Allow {
    let mut allow = Allow::default();
    for (index, word) in words.iter().enumerate() {
        match word.as_str() {
            "empty-segment" => allow.empty_segment = true,
            "encoded-slash" => allow.encoded_slash = true,
            "semicolon" => allow.semicolon = true,
            "non-ascii" => allow.non_ascii = true,
            _ => {
                let hint = match nearest(word, ODDITIES.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("write one of {}", ODDITIES.join(", ")),
                };
                let key = format!("{key}[{}]", index + 1);
                reader.refuse_with(&key, format!("{word:?} cannot be admitted"), hint);
            }
        }
    }
    allow
}

const ODDITIES: [&str; 4] = ["empty-segment", "encoded-slash", "semicolon", "non-ascii"];
const CONTROL_SOCKET: &str = "control.sock";
