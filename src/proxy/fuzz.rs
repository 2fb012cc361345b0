//! The functions that the fuzz targets run. `cargo test` runs them over the committed corpora.

use std::time::Duration;

use bytes::BytesMut;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};

use crate::proxy::error::Fault;
use crate::proxy::grpc;
use crate::proxy::payload::{Payload, Step};
use crate::proxy::response_head::HeadReader;

/// Reads the bytes as an answer of an upstream, twice: in one piece and in small ones. The first byte selects
/// the size of the pieces and the method.
///
/// # Panics
///
/// If the two results differ, if a body is longer than its input, or if data follows the end: each would be a
/// fault of the parser.
pub fn upstream_response(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let method = if choice & 0x80 == 0 {
        Method::GET
    } else {
        Method::HEAD
    };
    let cut = usize::from(choice & 0x7f) + 1;
    let whole = read(&method, [bytes].into_iter());
    let pieces = read(&method, bytes.chunks(cut));
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces, "the cut changes the answer"),
        // Malformed input may be refused earlier in one piece than in many, never accepted.
        (Err(_), Err(_)) => {}
        _ => assert_eq!(
            whole.is_ok(),
            pieces.is_ok(),
            "the cut changes the decision"
        ),
    }
    if let Ok(answer) = whole {
        assert!(answer.body.len() <= bytes.len(), "a body came from nowhere");
    }
}

/// Reads the first line as a content type and the rest as the `grpc-timeout` lines of a call.
///
/// # Panics
///
/// If a timeout exceeds eight digits, or is taken from more than one line.
pub fn grpc_head(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let kind = lines
        .next()
        .and_then(|line| HeaderValue::from_bytes(line).ok());
    let mut headers = HeaderMap::new();
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, kind);
    }
    for line in lines.take(4) {
        if let Ok(line) = HeaderValue::from_bytes(line) {
            headers.append("grpc-timeout", line);
        }
    }
    let _is_call = grpc::is_call(&headers);
    if let Some(limit) = grpc::timeout(&headers) {
        assert!(limit <= Duration::from_secs(99_999_999 * 3600), "{limit:?}");
        assert_eq!(headers.get_all("grpc-timeout").iter().count(), 1);
    }
}

/// One complete answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
}

fn read<'a>(method: &Method, pieces: impl Iterator<Item = &'a [u8]>) -> Result<Answer, Fault> {
    let mut reader = HeadReader::new(method);
    let mut input = BytesMut::new();
    let mut answer = Answer {
        status: 0,
        headers: HeaderMap::new(),
        body: Vec::new(),
        trailers: HeaderMap::new(),
    };
    let mut payload = None;
    for piece in pieces {
        input.extend_from_slice(piece);
        if payload.is_none()
            && let Some(head) = reader.read(&mut input, &mut answer.headers)?
        {
            answer.status = head.status.as_u16();
            payload = Some(head.payload);
        }
        if let Some(payload) = &mut payload {
            drain(payload, &mut input, &mut answer)?;
        }
    }
    let mut payload = payload.ok_or(Fault::CutShort)?;
    payload.disconnect()?;
    let before = answer.body.len();
    drain(&mut payload, &mut input, &mut answer)?;
    assert_eq!(answer.body.len(), before, "data came after the end");
    Ok(answer)
}

fn drain(payload: &mut Payload, input: &mut BytesMut, answer: &mut Answer) -> Result<(), Fault> {
    loop {
        match payload.decode(input)? {
            Step::Data(data) => answer.body.extend_from_slice(&data),
            Step::Trailers(trailers) => answer.trailers = trailers,
            Step::End | Step::More => return Ok(()),
        }
    }
}
