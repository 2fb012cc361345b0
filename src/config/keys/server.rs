//! The keys of `[server]`.

use crate::config::key::{Base, Reload, keys};
use crate::config::kind::{
    DAY, File, Flag, HOUR, MINUTE, Number, Span, Text, Texts, Word, duration, file, flag, list,
    number, secs, section, text, texts, word,
};

keys! {
    SERVER = section("server");

    /// The public listener: "address:port", or "unix:/run/sidegate.sock".
    LISTEN: Text = text("server.listen", "127.0.0.1:8080")
        .relative_to(Base::WorkingDirectory)
        .changes(Reload::Restart);

    /// A listener that answers every request with a redirect to https, such as "0.0.0.0:80". "" turns
    /// it off.
    REDIRECT_LISTEN: Text = text("server.redirect_listen", "").changes(Reload::Restart);

    /// Worker threads. 0: one per available core.
    THREADS: Number = number("server.threads", 0, 0..=1_024).changes(Reload::Restart);

    /// Networks (CIDR) of the proxies whose forwarding headers are used, and of the gateways that may
    /// call /auth/verify. A list that contains every address is refused. A client of a Unix listener
    /// has the address 127.0.0.1.
    TRUSTED_PROXIES: Texts = texts("server.trusted_proxies", &[]);

    /// true: every connection from a trusted proxy must begin with a PROXY header (version 1 or 2),
    /// which contains the client's address. Other connections must not have one.
    PROXY_PROTOCOL: Flag = flag("server.proxy_protocol", false).changes(Reload::Restart);

    /// The origin in the browser's address bar, such as "https://app.example.org". Needed for secure
    /// cookies when a proxy in front terminates TLS.
    PUBLIC_URL: Text = text("server.public_url", "");

    /// Host names that are served. Empty: all.
    HOSTS: Texts = texts("server.hosts", &[]);

    /// Open connections. Further ones are answered 503 and closed. One address or network may have
    /// half of them, and less when few are free (docs/operations.md, "Limits per client").
    MAX_CONNECTIONS: Number = number("server.max_connections", 10_000, 1..=1_000_000);

    /// Open connections from one address. Trusted proxies are not counted.
    MAX_CONNECTIONS_PER_ADDRESS: Number = number("server.max_connections_per_address", 5_000, 1..=1_000_000);

    /// Time for a complete request head, over HTTP/1.1 and HTTP/2. A connection may be idle for 60
    /// seconds between two requests.
    HEADER_TIMEOUT: Span = duration("server.header_timeout", "10s", secs(1)..=secs(5 * MINUTE));

    /// The lowest rate of the body of a forwarded request, in bytes per second, averaged over 30
    /// seconds. 0: no limit. Only the time in which Sidegate waits for the client counts. gRPC
    /// streams are exempt.
    BODY_RATE: Number = number("server.body_rate", 100, 0..=1_000_000);

    /// Time from the stop signal until the listeners close, so that load balancers can react.
    DRAIN_DELAY: Span = duration("server.drain_delay", "0s", secs(0)..=secs(10 * MINUTE));

    /// Time from then until the remaining connections are closed.
    DRAIN_TIMEOUT: Span = duration("server.drain_timeout", "30s", secs(0)..=secs(HOUR));

    /// The socket for `sidegate users`, `sessions`, `keys`, `drain` and other commands. "auto":
    /// control.sock in the store's directory; with a memory store, next to the directory
    /// tokens.keys_dir. "" turns it off.
    CONTROL: Text = text("server.control", "auto")
        .relative_to(Base::WorkingDirectory)
        .changes(Reload::Restart);
}

keys! {
    /// TLS of the public listener. Without a certificate it accepts plain HTTP. The files are in PEM
    /// format and are read again when they change; if a new file cannot be used, the old one stays in
    /// use.
    TLS = section("server.tls").changes(Reload::Restart);

    /// The certificate, followed by the intermediate certificates.
    TLS_CERT: File = file("server.tls.cert", "");

    /// The private key of the certificate.
    TLS_KEY: File = file("server.tls.key", "");

    /// Client certificates: "off", "optional" or "required".
    TLS_CLIENT_AUTH: Word<ClientCertificate> = word("server.tls.client_auth", "off", &CLIENT_AUTH_WORDS);

    /// The authorities (PEM) that client certificates are verified with.
    TLS_CLIENT_CA: File = file("server.tls.client_ca", "");

    /// The header that contains the subject of the client's certificate, such as "X-Client-Subject".
    /// It is removed from requests of clients. "": no such header.
    TLS_CLIENT_SUBJECT_HEADER: Text = text("server.tls.client_subject_header", "");

    /// Time for a TLS handshake.
    TLS_HANDSHAKE_TIMEOUT: Span = duration("server.tls.handshake_timeout", "5s", secs(1)..=secs(MINUTE));

    /// Time between two checks for changed files, also for those of [upstream.tls].
    TLS_RELOAD_INTERVAL: Span = duration("server.tls.reload_interval", "10s", secs(1)..=secs(DAY));
}

keys! {
    /// Further certificates. The client's server name selects one by the names in the certificates;
    /// the pair above is used for every other name.
    TLS_CERTIFICATE = list("server.tls.certificate[]");

    /// As server.tls.cert.
    TLS_CERTIFICATE_CERT: File = file("server.tls.certificate[].cert", "");

    /// As server.tls.key.
    TLS_CERTIFICATE_KEY: File = file("server.tls.certificate[].key", "");
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    Off,
    Optional,
    Required,
}

const CLIENT_AUTH_WORDS: [(&str, ClientCertificate); 3] = [
    ("off", ClientCertificate::Off),
    ("optional", ClientCertificate::Optional),
    ("required", ClientCertificate::Required),
];
