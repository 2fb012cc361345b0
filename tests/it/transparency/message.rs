//! How are requests and answers of different protocols compared, and how are bytes split at random?

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use sidegate::types::random::{Random as _, SeededRandom};

use super::manual::{ANEW, FROM_ANSWERS, FROM_REQUESTS, INTO_ANSWERS, INTO_REQUESTS};

/// Header lines, in order.
pub(super) type Lines = Vec<(String, Vec<u8>)>;

/// A body and its framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// No body.
    Nothing,
    /// A body with a length.
    Sized(Vec<u8>),
    /// A body that ends by its framing.
    Streamed(Vec<u8>),
    /// The same; over HTTP/1.1 it ends with the connection.
    UntilTheEnd(Vec<u8>),
}

impl Content {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::Sized(body) | Self::Streamed(body) | Self::UntilTheEnd(body) => body,
        }
    }
}

/// A request as the application received it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ReceivedRequest {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Lines,
    pub(super) body: Vec<u8>,
}

/// An answer as the client received it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ReceivedAnswer {
    /// The statuses of interim answers, over HTTP/1.
    pub(super) interim: Vec<u16>,
    pub(super) status: u16,
    pub(super) headers: Lines,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Lines,
}

impl ReceivedRequest {
    /// Without headers of one connection and those documented as Sidegate's.
    pub(super) fn essence(mut self) -> Self {
        let managed: BTreeSet<_> = [FROM_REQUESTS, INTO_REQUESTS, ANEW]
            .concat()
            .into_iter()
            .collect();
        self.headers
            .retain(|(name, _)| !managed.contains(&name.as_str()));
        self.headers.sort_by(|a, b| a.0.cmp(&b.0));
        self
    }
}

impl ReceivedAnswer {
    /// The same for an answer. A length that was sent stays; the length of a chunked body does not, and
    /// a date of the application stays.
    pub(super) fn essence(mut self, sent: &Lines, content: &Content) -> Self {
        let mut managed: BTreeSet<_> = FROM_ANSWERS.iter().copied().collect();
        managed.extend(
            INTO_ANSWERS
                .iter()
                .filter(|name| sent.iter().all(|(n, _)| n != *name)),
        );
        if !matches!(content, Content::Sized(_)) {
            managed.extend(ANEW);
        }
        self.headers
            .retain(|(name, _)| !managed.contains(name.as_str()));
        self.headers.sort_by(|a, b| a.0.cmp(&b.0));
        self.trailers.sort();
        self
    }
}

/// Lines as a map, for hyper.
pub(super) fn to_map(lines: &[(String, Vec<u8>)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.to_lowercase().as_bytes()).expect("a name");
        map.append(name, HeaderValue::from_bytes(value).expect("a value"));
    }
    map
}

/// A map as lines.
pub(super) fn to_lines(map: &HeaderMap) -> Lines {
    map.iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

/// Splits bytes into pieces of any size, at most about forty.
pub(super) fn pieces(bytes: &[u8], dice: &SeededRandom) -> Vec<Bytes> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let most = [1, 9, 300, 20_000][below(dice, 4)].max(bytes.len() / 40);
        let size = (1 + below(dice, most)).min(rest.len());
        pieces.push(Bytes::copy_from_slice(&rest[..size]));
        rest = &rest[size..];
    }
    pieces
}

/// The same as chunks of HTTP/1.1, with the last chunk.
pub(super) fn chunked(
    bytes: &[u8],
    trailers: &[(String, Vec<u8>)],
    dice: &SeededRandom,
) -> Vec<u8> {
    let mut chunks = Vec::new();
    for piece in pieces(bytes, dice) {
        chunks.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        chunks.extend_from_slice(&piece);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        line(&mut chunks, name, value);
    }
    chunks.extend_from_slice(b"\r\n");
    chunks
}

/// One header line.
pub(super) fn line(into: &mut Vec<u8>, name: &str, value: &[u8]) {
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}

/// Header lines as on the wire, with lower-case names.
pub(super) fn read_lines(bytes: &[u8]) -> Lines {
    let text = bytes.split(|b| *b == b'\n');
    text.filter_map(|line| {
        let at = line.iter().position(|b| *b == b':')?;
        let name = String::from_utf8_lossy(&line[..at]).to_lowercase();
        Some((name, line[at + 1..].trim_ascii().to_vec()))
    })
    .collect()
}

/// A number below this one.
pub(super) fn below(dice: &SeededRandom, limit: usize) -> usize {
    usize::try_from(dice.next() % u64::try_from(limit).expect("a number")).expect("a number")
}

/// This many bytes.
pub(super) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}
