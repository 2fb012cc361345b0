//! What do the fuzz targets run? Each parser of outside input, with any bytes. Tests run the same functions
//! over the committed corpora, so that they are checked without a fuzzer. A panic is a finding.

#![expect(
    clippy::missing_panics_doc,
    reason = "a panic is what these functions are for"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;

use crate::api::wire::fields::Fields;
use crate::config::{self, Sources};
use crate::control::import::{Accounts, Format};
use crate::control::{Reply, Request, wire};
use crate::crypto::password::Hasher;
use crate::crypto::refresh::Presented;
use crate::crypto::settings::Settings as HashSettings;
pub use crate::gateway::original::fuzz::gateway_question;
use crate::gateway::tunnel::frames::Frames;
use crate::guard::extract;
use crate::net::proxy_protocol::{self, Header};
use crate::store::backup::Reader;
use crate::store::embedded::records;
use crate::types::device::Device;
use crate::types::language::Language;
use crate::types::login::LoginName;
use crate::types::path::{Allow, Allowances, CleanPath};
use crate::types::trusted_proxies::{TrustedProxies, client_address};

/// A request path, with no allowances and with all of them: a path that is accepted without allowances has no
/// dot segment in any reading.
pub fn request_path(data: &[u8]) {
    let strict = Allowances::default();
    if let Ok(path) = CleanPath::parse_bytes(data, &strict) {
        assert!(
            path.segments()
                .all(|segment| segment != "." && segment != "..")
        );
    }
    let all = Allow {
        empty_segment: true,
        encoded_slash: true,
        semicolon: true,
        non_ascii: true,
    };
    let loose = Allowances {
        everywhere: all,
        by_prefix: Vec::new(),
    };
    if let Ok(path) = CleanPath::parse_bytes(data, &loose) {
        assert!(
            path.segments()
                .all(|segment| segment != "." && segment != "..")
        );
    }
}

/// The frames of one direction of a WebSocket, in one piece and byte by byte: the boundaries are the same.
pub fn websocket_frames(data: &[u8]) {
    let mut whole = Frames::default();
    whole.advance(data);
    let mut pieces = Frames::default();
    for byte in data {
        pieces.advance(std::slice::from_ref(byte));
    }
    assert_eq!(whole.is_between(), pieces.is_between());
    assert_eq!(whole.is_closed(), pieces.is_closed());
}

/// A refresh token: a token that can be parsed has exactly one spelling.
pub fn refresh_token(data: &[u8]) {
    let _judged = Presented::parse_bytes(data);
}

/// `Authorization` and `Cookie` lines, separated by line ends.
pub fn credentials(data: &[u8]) {
    let lines = || data.split(|byte| *byte == b'\n');
    let _shown = extract::bearer(lines());
    let _kept = extract::our_cookie(lines(), "sidegate_access");
}

/// `X-Forwarded-For` lines, separated by line ends, from a trusted peer.
pub fn forwarded_for(data: &[u8]) {
    let networks = vec!["10.0.0.0/8".parse(), "fc00::/7".parse()];
    let networks = networks.into_iter().flatten().collect();
    let trusted = TrustedProxies::try_new(networks).unwrap_or_default();
    let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let _client = client_address(peer, data.split(|byte| *byte == b'\n'), &trusted);
}

/// The JSON body of a call.
pub fn json_body(data: &[u8]) {
    let _fields = Fields::parse(data);
}

/// A login name, a User-Agent and an Accept-Language.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(name) = LoginName::guess(&text) {
        assert_eq!(
            LoginName::guess(name.as_str()),
            Ok(name),
            "a canonical name is a fixed point"
        );
    }
    let _device = Device::from_user_agent(&text);
    let _language = Language::accepted(&text);
}

/// A stored record of any kind: damage is an error, never a panic.
pub fn stored_record(data: &[u8]) {
    records::read_as_any(data);
}

/// A backup: one that can be read to its end is complete, and nothing follows the end.
pub fn backup(data: &[u8]) {
    let Ok(mut reader) = Reader::open(data) else {
        return;
    };
    let mut last = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some((key, _))) => {
                assert!(key > last.as_slice(), "keys ascend");
                key.clone_into(&mut last);
            }
            Ok(None) => break,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return;
            }
        }
    }
    let records = reader.records();
    if let Ok(trailer) = reader.read_to_end() {
        assert_eq!(
            (trailer.records, trailer.bytes),
            (records, data.len() as u64)
        );
    }
}

/// An audit file: each record in it that is written again is read as the same record.
pub fn audit_file(data: &[u8]) {
    crate::audit::read::look_at(data);
}

/// A line on the control socket, from either end.
pub fn control_line(data: &[u8]) {
    let _request = wire::decode::<Request>(data);
    let _reply = wire::decode::<Reply>(data);
}

/// A file of accounts in each format, and the password hashes in it. The number of lines is that of the file,
/// and a hash that is accepted has a parameter set.
pub fn account_file(data: &[u8]) {
    let cheap = HashSettings {
        memory_kib: 64,
        iterations: 1,
        parallelism: 1,
        max_concurrent: 1,
    };
    let hasher = Hasher::new(cheap).ok();
    let most = data.split(|byte| *byte == b'\n').count();
    for format in [Format::Htpasswd, Format::Csv, Format::JsonLines] {
        let Ok(mut accounts) = Accounts::open(format, data) else {
            continue;
        };
        let mut found = 0_usize;
        while let Ok(Some(line)) = accounts.next_line() {
            found = found.saturating_add(1);
            if let (Ok(record), Some(hasher)) = (line.account, &hasher)
                && let Ok(stored) = hasher.adopt(record.password_hash.expose())
            {
                assert!(!stored.cost().as_str().is_empty());
            }
        }
        assert!(found <= most, "a line that is not in the file");
    }
}

/// The first bytes of a connection from a load balancer: a header is never longer than the received bytes, and
/// later bytes do not change it.
pub fn proxy_protocol(data: &[u8]) {
    match proxy_protocol::read(data) {
        header @ Header::Complete { length, .. } => {
            assert!(length <= data.len(), "a header of bytes that never came");
            let alone = data.get(..length).unwrap_or_default();
            assert_eq!(proxy_protocol::read(alone), header);
        }
        Header::Incomplete => assert!(data.len() < 536, "a header without an end"),
        Header::Invalid => {}
    }
}

/// A configuration file: every mistake is an error with a message.
pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let sources = Sources {
        file: Some(("fuzz.toml".into(), text)),
        env: Vec::new(),
        read: &|_| Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        cores: NonZeroUsize::MIN,
    };
    if let Err(problems) = config::load(&sources) {
        assert!(!problems.to_string().is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Runs every file of a corpus through its function.
    fn replay(name: &str, run: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(name);
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
        assert!(files.len() >= 3, "{name} has {} files", files.len());
        for file in files {
            run(&std::fs::read(file.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn every_committed_corpus_is_read_without_a_panic() {
        replay("request_path", request_path);
        replay("refresh_token", refresh_token);
        replay("websocket_frames", websocket_frames);
        replay("credentials", credentials);
        replay("forwarded_for", forwarded_for);
        replay("gateway_question", gateway_question);
        replay("json_body", json_body);
        replay("names", names);
        replay("stored_record", stored_record);
        replay("backup", backup);
        replay("audit_file", audit_file);
        replay("control_line", control_line);
        replay("configuration", configuration);
        replay("proxy_protocol", proxy_protocol);
        replay("account_file", account_file);
    }
}
