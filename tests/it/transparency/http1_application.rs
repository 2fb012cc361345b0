//! An application in HTTP/1.1 written by hand, with the framing of the exchange.

use std::io::ErrorKind;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::applications::Playback;
use super::message::{Content, ReceivedRequest, chunked, line, pieces, read_lines};
use super::table::Exchange;

/// Plays over HTTP/1.1 until the connection ends.
pub(super) async fn serve<S>(mut stream: S, stage: &Playback) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut read = Vec::new();
    loop {
        let head = until(&mut stream, &mut read, b"\r\n\r\n").await?;
        let exchange = stage.now();
        let (start, lines) = match head.windows(2).position(|two| two == b"\r\n") {
            Some(at) => head.split_at(at),
            None => (&head[..], &[][..]),
        };
        let start = String::from_utf8_lossy(start).into_owned();
        let mut words = start.split(' ');
        let mut request = ReceivedRequest {
            method: words.next().unwrap_or_default().to_owned(),
            target: words.next().unwrap_or_default().to_owned(),
            headers: read_lines(lines),
            body: Vec::new(),
        };
        if exchange.is_early {
            answer(&mut stream, &exchange, stage).await?;
        }
        request.body = body(&mut stream, &mut read, &request).await?;
        let mut connection = request
            .headers
            .iter()
            .filter(|(name, _)| name == "connection");
        let is_last = connection.any(|(_, value)| value.ends_with(b"close"));
        stage.record(request);
        if !exchange.is_early {
            answer(&mut stream, &exchange, stage).await?;
        }
        if is_last || matches!(exchange.content, Content::UntilTheEnd(_)) {
            return stream.shutdown().await;
        }
    }
}

async fn answer<S>(stream: &mut S, exchange: &Exchange, stage: &Playback) -> std::io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let mut bytes = Vec::new();
    for (status, lines) in &exchange.interim {
        bytes.extend(format!("HTTP/1.1 {status} Words\r\n").into_bytes());
        for (name, value) in lines {
            line(&mut bytes, name, value);
        }
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend(format!("HTTP/1.1 {} Words\r\n", exchange.status).into_bytes());
    for (name, value) in &exchange.answer {
        line(&mut bytes, name, value);
    }
    let is_sent = !exchange.is_bodiless();
    match &exchange.content {
        Content::Sized(body) => {
            line(
                &mut bytes,
                "content-length",
                body.len().to_string().as_bytes(),
            );
            bytes.extend_from_slice(b"\r\n");
            bytes.extend(body.iter().filter(|_| is_sent));
        }
        Content::Streamed(body) => {
            line(&mut bytes, "transfer-encoding", b"chunked");
            bytes.extend_from_slice(b"\r\n");
            if is_sent {
                bytes.extend(chunked(body, &exchange.trailers, stage.dice()));
            }
        }
        Content::UntilTheEnd(body) => {
            bytes.extend_from_slice(b"\r\n");
            bytes.extend(body);
        }
        Content::Nothing => bytes.extend_from_slice(b"\r\n"),
    }
    for piece in pieces(&bytes, stage.dice()) {
        stream.write_all(&piece).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// Reads up to this delimiter; returns the bytes before it.
async fn until<S: AsyncRead + Unpin>(
    stream: &mut S,
    read: &mut Vec<u8>,
    end: &[u8],
) -> std::io::Result<Vec<u8>> {
    loop {
        if let Some(at) = read.windows(end.len()).position(|part| part == end) {
            let before = read[..at].to_vec();
            read.drain(..at + end.len());
            return Ok(before);
        }
        if stream.read_buf(read).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn body<S: AsyncRead + Unpin>(
    stream: &mut S,
    read: &mut Vec<u8>,
    request: &ReceivedRequest,
) -> std::io::Result<Vec<u8>> {
    let value = |wanted: &str| {
        let found = request.headers.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let mut body = Vec::new();
    if value("transfer-encoding").is_some() {
        loop {
            let line = until(stream, read, b"\r\n").await?;
            let size = String::from_utf8_lossy(&line).into_owned();
            let size = usize::from_str_radix(size.trim(), 16).expect("a size");
            body.extend(exactly(stream, read, size).await?);
            until(stream, read, b"\r\n").await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = value("content-length").map_or(0, |length| length.parse().expect("a length"));
    exactly(stream, read, length).await
}

async fn exactly<S: AsyncRead + Unpin>(
    stream: &mut S,
    read: &mut Vec<u8>,
    length: usize,
) -> std::io::Result<Vec<u8>> {
    while read.len() < length {
        if stream.read_buf(read).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(read.drain(..length).collect())
}
