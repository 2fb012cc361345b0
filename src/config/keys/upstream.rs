//! The keys of `[upstream]`.

use crate::config::key::{Base, Support, keys};
use crate::config::kind::{
    DAY, File, Flag, HOUR, MINUTE, Number, Span, Text, Texts, duration, duration_or_none, file,
    flag, millis, number, secs, section, text, texts,
};

keys! {
    UPSTREAM = section("upstream");

    /// The address of the application. REQUIRED; this is an example.
    ///   "http://host:port"    HTTP/1.1
    ///   "https://host:port"   TLS; HTTP/2 or HTTP/1.1, as the application selects
    ///   "h2c://host:port"     HTTP/2 without TLS, as gRPC servers use it
    ///   "unix:/path"          HTTP/1.1 on a Unix socket
    URL: Text = text("upstream.url", "")
        .relative_to(Base::WorkingDirectory)
        .example("http://127.0.0.1:3000");

    /// Time to open a connection, including TLS.
    CONNECT_TIMEOUT: Span = duration("upstream.connect_timeout", "2s", millis(10)..=secs(5 * MINUTE));

    /// Time until the head of the response. 0: no limit.
    RESPONSE_TIMEOUT: Span = duration_or_none("upstream.response_timeout", "60s", millis(10)..=secs(DAY));

    /// Time that a request may wait for a free connection. Then it is answered 503.
    QUEUE_TIMEOUT: Span = duration("upstream.queue_timeout", "2s", millis(10)..=secs(5 * MINUTE));

    /// Time without data in a response of unknown length (an event stream, a watch) or in a gRPC
    /// call. 0: no limit. Bodies of known length and stalled request bodies have 60 seconds. For a
    /// gRPC call this replaces response_timeout, unless the call has its own deadline.
    STREAM_IDLE_TIMEOUT: Span = duration_or_none("upstream.stream_idle_timeout", "1h", millis(10)..=secs(7 * DAY));

    /// Time that an unused connection is kept open. 0: it is closed at once.
    IDLE_TIMEOUT: Span = duration_or_none("upstream.idle_timeout", "60s", millis(10)..=secs(HOUR));

    /// The age from which a connection is no longer used for further requests, so that changes of a
    /// DNS name take effect. 0: no limit.
    MAX_AGE: Span = duration_or_none("upstream.max_age", "1h", secs(1)..=secs(7 * DAY));

    /// Connections from one worker to the upstream. Over HTTP/2 each carries up to 100 requests at
    /// once. One client or user may have half of them, and less when few are free
    /// (docs/operations.md, "Limits per client").
    MAX_CONNECTIONS: Number = number("upstream.max_connections", 1_024, 1..=65_536);

    /// Protocols that a request may switch to, such as "websocket". HTTP/2 is refused. Upgrades use
    /// HTTP/1.1, so they are not available with "h2c:".
    UPGRADES: Texts = texts("upstream.upgrades", &["websocket"]);

    /// Upgraded connections of one worker, in addition to max_connections. They are shared in the
    /// same way.
    MAX_UPGRADED: Number = number("upstream.max_upgraded", 4_096, 0..=1_000_000);

    /// true: the upstream receives the Host of the request. false: it receives the host of the url.
    PRESERVE_HOST: Flag = flag("upstream.preserve_host", true);

    /// Not in this version: a path of the upstream that is requested for the readiness check.
    HEALTH_PATH: Text = text("upstream.health_path", "")
        .support(Support::IgnoredIfOn("this version does not probe the upstream"));
}

keys! {
    /// For an https:// upstream. Its certificate is always verified. The files are in PEM format and
    /// are read again when they change (server.tls.reload_interval) and at every reload; if a new
    /// file cannot be used, the old one stays in use.
    TLS = section("upstream.tls");

    /// The only trusted roots. "": the system's roots, or Mozilla's if there are none. This may be
    /// the server's self-signed certificate, unless it is a CA certificate (CA:TRUE).
    TLS_CA: File = file("upstream.tls.ca", "");

    /// The certificate chain that is presented to the upstream. "": none.
    TLS_CERT: File = file("upstream.tls.cert", "");

    /// Its private key.
    TLS_KEY: File = file("upstream.tls.key", "");

    /// The name that the certificate must have. "": the host of the url.
    TLS_SERVER_NAME: Text = text("upstream.tls.server_name", "");
}
