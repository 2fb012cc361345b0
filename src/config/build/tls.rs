//! `[server.tls]` to the settings of the public listener's TLS.

use std::path::PathBuf;

use http::HeaderName;

use crate::config::build::reader::{DAY, MINUTE, Reader, secs};
use crate::config::raw::{Server, Tls};
use crate::guard::settings::RESERVED;
use crate::tls::settings::{ClientAuth, Pair, Settings};

/// Whether the public listener speaks TLS.
pub(super) fn is_on(server: &Server) -> bool {
    !server.tls.cert.is_empty() || !server.tls.key.is_empty()
}

/// The listener's TLS; `None` when it speaks none.
pub(super) fn build(reader: &mut Reader<'_>, server: &Server) -> Option<Settings> {
    let tls = &server.tls;
    let client_auth = client_auth(reader, tls);
    let pairs = pairs(reader, tls);
    if !is_on(server) {
        if !tls.certificate.is_empty() || client_auth != ClientAuth::Off {
            reader.refuse_with(
                "server.tls",
                "has no effect without a certificate",
                "set server.tls.cert and server.tls.key",
            );
        }
        return None;
    }
    Some(Settings { pairs, client_auth })
}

/// The header that tells the application the subject of a client's certificate.
pub(super) fn subject_header(reader: &mut Reader<'_>, tls: &Tls) -> Option<HeaderName> {
    const KEY: &str = "server.tls.client_subject_header";
    if tls.client_subject_header.is_empty() {
        return None;
    }
    let Ok(name) = HeaderName::try_from(tls.client_subject_header.as_str()) else {
        reader.refuse(KEY, "is no header name");
        return None;
    };
    if RESERVED.contains(&name.as_str()) {
        reader.refuse(
            KEY,
            format!("{name} has its own meaning and cannot carry a subject"),
        );
    }
    if tls.client_auth == "off" {
        reader.refuse_with(
            KEY,
            "has no effect while no client is asked for a certificate",
            "set client_auth = \"optional\" or \"required\"",
        );
    }
    Some(name)
}

/// How often files are looked at: also those of the upstream, so it counts without a certificate.
pub(super) fn reload_interval(reader: &mut Reader<'_>, tls: &Tls) -> std::time::Duration {
    reader.duration(
        "server.tls.reload_interval",
        &tls.reload_interval,
        secs(1)..=secs(DAY),
    )
}

/// Time for a handshake.
pub(super) fn handshake_timeout(reader: &mut Reader<'_>, tls: &Tls) -> std::time::Duration {
    reader.duration(
        "server.tls.handshake_timeout",
        &tls.handshake_timeout,
        secs(1)..=secs(MINUTE),
    )
}

fn pairs(reader: &mut Reader<'_>, tls: &Tls) -> Vec<Pair> {
    let first = ("server.tls".to_owned(), &tls.cert, &tls.key);
    let others = tls.certificate.iter().enumerate().map(|(index, pair)| {
        let key = format!("server.tls.certificate[{}]", index + 1);
        (key, &pair.cert, &pair.key)
    });
    let mut pairs = Vec::new();
    for (at, cert, key) in std::iter::once(first).chain(others) {
        match (cert.is_empty(), key.is_empty()) {
            (true, true) if at == "server.tls" => {}
            (false, false) => pairs.push(Pair {
                cert: PathBuf::from(cert),
                key: PathBuf::from(key),
            }),
            (no_cert, _) => {
                let (missing, what) = if no_cert {
                    ("cert", "certificate chain")
                } else {
                    ("key", "private key")
                };
                reader.refuse_with(
                    &format!("{at}.{missing}"),
                    "is not set",
                    format!("name the PEM file of the {what}"),
                );
            }
        }
    }
    pairs
}

fn client_auth(reader: &mut Reader<'_>, tls: &Tls) -> ClientAuth {
    let words = [
        ("off", Asked::No),
        ("optional", Asked::Politely),
        ("required", Asked::Firmly),
    ];
    let asked = reader.word("server.tls.client_auth", &tls.client_auth, &words);
    let ca = PathBuf::from(&tls.client_ca);
    match (asked.unwrap_or(Asked::No), tls.client_ca.is_empty()) {
        (Asked::No, true) => ClientAuth::Off,
        (Asked::No, false) => {
            reader.refuse_with(
                "server.tls.client_ca",
                "has no effect while no client is asked for a certificate",
                "set client_auth = \"optional\" or \"required\"",
            );
            ClientAuth::Off
        }
        (_, true) => {
            reader.refuse_with(
                "server.tls.client_ca",
                "is not set",
                "name the PEM file of the authorities whose certificates are good",
            );
            ClientAuth::Off
        }
        (Asked::Politely, false) => ClientAuth::Optional { ca },
        (Asked::Firmly, false) => ClientAuth::Required { ca },
    }
}

#[derive(Clone, Copy)]
enum Asked {
    No,
    Politely,
    Firmly,
}
