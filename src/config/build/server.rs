//! `[server]`, `[admin]` and the access log to the settings of listeners and workers.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::config::build::reader::Reader;
use crate::config::build::{names, paths, tls};
use crate::config::key::Key;
use crate::config::keys::{admin, log, server};
use crate::config::kind::Text;
use crate::config::tree::item;
use crate::net::settings::Listen;
use crate::process::settings::Settings;
use crate::store::settings::Engine;
use crate::telemetry::settings::AccessLogTarget;
use crate::types::net::Scheme;
use crate::types::origin::Origin;
use crate::types::trusted_proxies::TrustedProxies;

/// Values from other sections and from the machine.
pub(super) struct Inputs<'a> {
    /// Cores that this process may use.
    pub(super) cores: NonZeroUsize,
    pub(super) store: &'a Engine,
    pub(super) keys_dir: &'a Path,
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) public_origin: Option<&'a Origin>,
    pub(super) json_logs: bool,
}

/// The server's settings.
pub(super) fn build(reader: &mut Reader<'_>, inputs: Inputs<'_>) -> Settings {
    let listen = listen(reader);
    let admin = admin(reader, &listen);
    let redirect_listen = redirect(reader, &listen, inputs.public_origin);
    let proxy_protocol = reader.get(&server::PROXY_PROTOCOL);
    if proxy_protocol && inputs.trusted_proxies.is_empty() {
        reader.refuse_with(
            server::PROXY_PROTOCOL.path(),
            "no proxy is trusted to send the header",
            "list the balancer's addresses in server.trusted_proxies",
        );
    }
    let threads = match reader.get(&server::THREADS) {
        0 => inputs.cores.get(),
        some => some as usize,
    };
    Settings {
        listen,
        admin,
        control: control(reader, inputs.store, inputs.keys_dir),
        threads,
        trusted_proxies: inputs.trusted_proxies,
        max_connections: reader.get(&server::MAX_CONNECTIONS) as usize,
        max_connections_per_address: reader.get(&server::MAX_CONNECTIONS_PER_ADDRESS) as usize,
        header_timeout: reader.get(&server::HEADER_TIMEOUT),
        body_rate: u64::from(reader.get(&server::BODY_RATE)),
        handshake_timeout: reader.get(&server::TLS_HANDSHAKE_TIMEOUT),
        tls_reload_interval: reader.get(&server::TLS_RELOAD_INTERVAL),
        proxy_protocol,
        tls: tls::build(reader),
        client_subject_header: tls::subject_header(reader),
        redirect_listen,
        drain_delay: reader.get(&server::DRAIN_DELAY),
        drain_timeout: reader.get(&server::DRAIN_TIMEOUT),
        hosts: hosts(reader, inputs.public_origin),
        paths: paths::build(reader),
        access_log: reader.get(&log::ACCESS),
        json_logs: inputs.json_logs,
        access_log_target: reader
            .get(&log::ACCESS_FILE)
            .map_or(AccessLogTarget::Stdout, AccessLogTarget::File),
    }
}

/// `server.public_url` as an origin.
pub(super) fn public_origin(reader: &mut Reader<'_>) -> Option<Origin> {
    let url = reader.get(&server::PUBLIC_URL);
    if url.is_empty() {
        return None;
    }
    let origin = names::origin(url);
    if origin.is_none() {
        reader.refuse_with(
            server::PUBLIC_URL.path(),
            "is no origin",
            "write scheme, host and port only, such as \"https://app.example.org\"",
        );
    }
    origin
}

fn listen(reader: &mut Reader<'_>) -> Listen {
    let key = server::LISTEN.path();
    let text = reader.get(&server::LISTEN);
    if let Some(path) = text.strip_prefix("unix:") {
        let path = reader.resolve(&server::LISTEN.declaration, key, path);
        if !names::fits_socket(&path) {
            reader.refuse(key, "a socket path is 1 to 107 bytes long");
        }
        return Listen::Unix(path);
    }
    if let Ok(address) = text.parse() {
        Listen::Tcp(address)
    } else {
        reader.refuse_with(
            key,
            "is no address",
            "write \"127.0.0.1:8080\", \"0.0.0.0:8080\", \"[::1]:8080\" or \
             \"unix:/run/sidegate.sock\"",
        );
        Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// The listener that redirects to https.
fn redirect(
    reader: &mut Reader<'_>,
    listen: &Listen,
    public_origin: Option<&Origin>,
) -> Option<SocketAddr> {
    let key = &server::REDIRECT_LISTEN;
    let hint = "write \"0.0.0.0:80\", or \"\" to turn it off";
    let address = second_listener(reader, key, hint, listen)?;
    let is_https = match public_origin {
        Some(origin) => origin.scheme() == Scheme::Https,
        // A malformed URL is reported at its own key.
        None => !reader.get(&server::PUBLIC_URL).is_empty(),
    };
    if !tls::is_on(reader) && !is_https {
        reader.refuse_with(
            key.path(),
            "there is no https to send clients to",
            "set [server.tls], or server.public_url to an https origin",
        );
    }
    Some(address)
}

fn admin(reader: &mut Reader<'_>, listen: &Listen) -> Option<SocketAddr> {
    let hint = "write \"127.0.0.1:9180\", or \"\" to turn the admin port off";
    let address = second_listener(reader, &admin::LISTEN, hint, listen)?;
    if !address.ip().is_loopback() {
        reader.warn(format!(
            "admin.listen = \"{address}\" shows health and metrics to every client that can reach it"
        ));
    }
    Some(address)
}

/// The address of a listener beside the public one; `None` if it is turned off or refused.
fn second_listener(
    reader: &mut Reader<'_>,
    key: &Key<Text>,
    hint: &str,
    listen: &Listen,
) -> Option<SocketAddr> {
    let text = reader.get(key);
    if text.is_empty() {
        return None;
    }
    let Ok(address) = text.parse::<SocketAddr>() else {
        reader.refuse_with(key.path(), "is no address", hint);
        return None;
    };
    if *listen == Listen::Tcp(address) && address.port() != 0 {
        reader.refuse(key.path(), "is the same address as server.listen");
    }
    Some(address)
}

/// The path of the control socket. `auto` is in the store's directory: a user who may open the store
/// may also send commands. A memory store has no directory, so there the socket is beside that of the
/// signing keys, which is private as well. It is never in a shared temporary directory, where another
/// user could take its place and be sent passwords.
fn control(reader: &mut Reader<'_>, store: &Engine, keys_dir: &Path) -> Option<PathBuf> {
    let key = server::CONTROL.path();
    let path = match (reader.get(&server::CONTROL), store.directory()) {
        ("", _) => return None,
        ("auto", Some(directory)) => directory.join(CONTROL_SOCKET),
        ("auto", None) => keys_dir
            .parent()
            .unwrap_or(Path::new(""))
            .join(CONTROL_SOCKET),
        (path, _) => {
            let path = path.strip_prefix("unix:").unwrap_or(path);
            reader.resolve(&server::CONTROL.declaration, key, path)
        }
    };
    if !names::fits_socket(&path) {
        reader.refuse_with(
            key,
            format!("{} is too long for a socket", path.display()),
            "name a path of at most 107 bytes",
        );
    }
    Some(path)
}

fn hosts(reader: &mut Reader<'_>, public_origin: Option<&Origin>) -> Vec<String> {
    let mut hosts = Vec::new();
    for (index, text) in reader.get(&server::HOSTS).into_iter().enumerate() {
        match names::host(text) {
            Some(host) => hosts.push(host),
            None => reader.refuse_with(
                &item(server::HOSTS.path(), index),
                "is no host name",
                "write a name without scheme, port and path, such as \"app.example.org\"",
            ),
        }
    }
    if let Some(origin) = public_origin
        && !hosts.is_empty()
        && !hosts.iter().any(|listed| listed == origin.host())
    {
        let host = origin.host();
        reader.warn(format!(
            "server.public_url names {host}, which is not in server.hosts: every request that is sent \
             there is refused"
        ));
    }
    hosts
}

const CONTROL_SOCKET: &str = "control.sock";
