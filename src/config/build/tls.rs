//! `[server.tls]` to the settings of the public listener's TLS.

use http::HeaderName;

use crate::config::build::reader::Reader;
use crate::config::keys::server::{self, ClientCertificate};
use crate::guard::settings::is_reserved;
use crate::tls::settings::{ClientAuth, Pair, Settings};

/// Whether the public listener uses TLS.
pub(super) fn is_on(reader: &mut Reader<'_>) -> bool {
    reader.get(&server::TLS_CERT).is_some() || reader.get(&server::TLS_KEY).is_some()
}

/// The listener's TLS; `None` if it uses none.
pub(super) fn build(reader: &mut Reader<'_>) -> Option<Settings> {
    let client_auth = client_auth(reader);
    let pairs = pairs(reader);
    if !is_on(reader) {
        let mut listed = reader.entries(&server::TLS_CERTIFICATE);
        if listed.next().is_some() || client_auth != ClientAuth::Off {
            reader.refuse_with(
                server::TLS.path,
                "has no effect without a certificate",
                "set server.tls.cert and server.tls.key",
            );
        }
        return None;
    }
    Some(Settings { pairs, client_auth })
}

/// The header with the subject of a client's certificate.
pub(super) fn subject_header(reader: &mut Reader<'_>) -> Option<HeaderName> {
    let key = server::TLS_CLIENT_SUBJECT_HEADER.path();
    let text = reader.get(&server::TLS_CLIENT_SUBJECT_HEADER);
    if text.is_empty() {
        return None;
    }
    let Ok(name) = HeaderName::try_from(text) else {
        reader.refuse(key, "is no header name");
        return None;
    };
    if is_reserved(&name) {
        reader.refuse(
            key,
            format!("{name} has its own meaning and cannot carry a subject"),
        );
    }
    if reader.text(&server::TLS_CLIENT_AUTH) == "off" {
        reader.refuse_with(
            key,
            "has no effect while no client is asked for a certificate",
            "set client_auth = \"optional\" or \"required\"",
        );
    }
    Some(name)
}

fn pairs(reader: &mut Reader<'_>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let first = (reader.get(&server::TLS_CERT), reader.get(&server::TLS_KEY));
    match first {
        (None, None) => {}
        (Some(cert), Some(key)) => pairs.push(Pair { cert, key }),
        (None, _) => missing(reader, server::TLS_CERT.path(), CHAIN),
        (_, None) => missing(reader, server::TLS_KEY.path(), PRIVATE_KEY),
    }
    for entry in reader.entries(&server::TLS_CERTIFICATE) {
        let cert = reader.get_in(entry, &server::TLS_CERTIFICATE_CERT);
        let key = reader.get_in(entry, &server::TLS_CERTIFICATE_KEY);
        match (cert, key) {
            (Some(cert), Some(key)) => pairs.push(Pair { cert, key }),
            (None, _) => missing(reader, &entry.path(&server::TLS_CERTIFICATE_CERT), CHAIN),
            (_, None) => missing(
                reader,
                &entry.path(&server::TLS_CERTIFICATE_KEY),
                PRIVATE_KEY,
            ),
        }
    }
    pairs
}

fn missing(reader: &mut Reader<'_>, at: &str, file: &str) {
    reader.refuse_with(at, "is not set", format!("name the PEM file of the {file}"));
}

fn client_auth(reader: &mut Reader<'_>) -> ClientAuth {
    let mode = reader.get(&server::TLS_CLIENT_AUTH);
    let ca = reader.get(&server::TLS_CLIENT_CA);
    match (mode.unwrap_or(ClientCertificate::Off), ca) {
        (ClientCertificate::Off, None) => ClientAuth::Off,
        (ClientCertificate::Off, Some(_)) => {
            reader.refuse_with(
                server::TLS_CLIENT_CA.path(),
                "has no effect while no client is asked for a certificate",
                "set client_auth = \"optional\" or \"required\"",
            );
            ClientAuth::Off
        }
        (_, None) => {
            reader.refuse_with(
                server::TLS_CLIENT_CA.path(),
                "is not set",
                "name the PEM file of the authorities whose certificates are good",
            );
            ClientAuth::Off
        }
        (ClientCertificate::Optional, Some(ca)) => ClientAuth::Optional { ca },
        (ClientCertificate::Required, Some(ca)) => ClientAuth::Required { ca },
    }
}

const CHAIN: &str = "certificate chain";
const PRIVATE_KEY: &str = "private key";
