//! HTTP/2 conversations of valid and invalid frames, then damaged; and a strict parser for the answers.

use std::collections::HashMap;

use super::requests::{FORGED, METHODS, forged_name, target};
use crate::support::dice::Dice;
use crate::support::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, frame,
};

const PRIORITY: u8 = 2;
const PUSH_PROMISE: u8 = 5;

/// The largest frame that a client permits a server by default (RFC 9113, 4.2).
const LARGEST: usize = 16 * 1024;

const LINES: &[(&str, &str)] = &[
    ("accept", "*/*"),
    ("cookie", "a=b"),
    ("cookie", "sidegate_access=x.y.z"),
    ("connection", "close"),
    ("transfer-encoding", "chunked"),
    ("content-length", "5"),
    ("content-length", "6"),
    ("host", "other"),
    ("host", "app"),
    ("te", "trailers"),
    ("te", "gzip"),
    ("Upper", "case"),
    ("", "nameless"),
    ("a b", "c"),
    ("x", "a\r\nx-user-id: forged-root"),
    ("x", "a\0b"),
    (":path", "/x"),
    (":authority", "other"),
    (":protocol", "websocket"),
    ("content-type", "application/grpc"),
    ("expect", "100-continue"),
];

/// The bytes of one client on one connection, with `token` in some of the requests.
pub(super) fn conversation(dice: &mut Dice, token: Option<&str>) -> Vec<u8> {
    let mut frames = vec![frame(SETTINGS, 0, 0, b"")];
    for index in 0..=dice.below(4) {
        let stream = u32::try_from(2 * index + 1).expect("a stream");
        request(dice, &mut frames, stream, token);
        let payload = [dice.byte(), 0, 0, dice.byte(), dice.byte(), 0, 0, 0];
        match dice.below(10) {
            0 => frames.push(frame(PING, 0, 0, &payload)),
            1 => frames.push(frame(RST_STREAM, 0, stream, &payload[..4])),
            2 => frames.push(frame(WINDOW_UPDATE, 0, stream, &payload[..4])),
            3 => frames.push(frame(PRIORITY, 0, stream, &payload[..5])),
            4 => frames.push(frame(SETTINGS, 0, 0, &payload[..6])),
            5 => frames.push(frame(GOAWAY, 0, 0, &payload)),
            6 => frames.push(frame(PUSH_PROMISE, END_HEADERS, stream, &payload[..4])),
            _ => {}
        }
    }
    if dice.once_in(2) {
        for _ in 0..=dice.below(2) {
            shuffle(dice, &mut frames);
        }
    }
    let mut bytes = frames.concat();
    if dice.once_in(4) {
        dice.damage(&mut bytes);
    }
    [PREFACE.to_vec(), bytes].concat()
}

fn request(dice: &mut Dice, frames: &mut Vec<Vec<u8>>, stream: u32, token: Option<&str>) {
    let mut lines = vec![
        (":method".to_owned(), (*dice.pick(METHODS)).to_owned()),
        (":scheme".to_owned(), "http".to_owned()),
        (":authority".to_owned(), "app".to_owned()),
        (":path".to_owned(), target(dice).to_owned()),
    ];
    if let Some(token) = token
        && !dice.once_in(4)
    {
        lines.push(("authorization".to_owned(), format!("Bearer {token}")));
    }
    for _ in 0..dice.below(4) {
        lines.push((forged_name(dice).to_lowercase(), FORGED.to_owned()));
    }
    if dice.once_in(4) {
        let (name, value) = dice.pick(LINES);
        lines.push(((*name).to_owned(), (*value).to_owned()));
    }
    let lines: Vec<(&str, &str)> = lines
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let block = block(&lines);
    let has_body = dice.once_in(3);
    let end = if has_body { 0 } else { END_STREAM };
    if dice.once_in(4) {
        let (first, rest) = block.split_at(dice.below(block.len()));
        frames.push(frame(HEADERS, end, stream, first));
        frames.push(frame(CONTINUATION, END_HEADERS, stream, rest));
    } else {
        frames.push(frame(HEADERS, end | END_HEADERS, stream, &block));
    }
    if has_body {
        frames.push(frame(DATA, 0, stream, b"hello"));
        frames.push(frame(DATA, END_STREAM, stream, b""));
    }
}

/// Damages one frame in one way.
fn shuffle(dice: &mut Dice, frames: &mut Vec<Vec<u8>>) {
    if frames.is_empty() {
        return;
    }
    let (at, other) = (dice.below(frames.len()), dice.below(frames.len()));
    match dice.below(6) {
        0 => frames.swap(at, other),
        1 => frames.insert(other, frames[at].clone()),
        2 => drop(frames.remove(at)),
        3 => frames[at][3] = dice.byte() % 12,
        4 => frames[at][4] ^= 1 << dice.below(8),
        _ => frames[at][8] = dice.byte() % 12,
    }
}

/// The numbers of the streams that were answered completely, or the error.
pub(super) fn streams(mut rest: &[u8]) -> Result<Vec<u32>, String> {
    let mut open: HashMap<u32, bool> = HashMap::new();
    let mut is_first = true;
    while let Some((head, behind)) = rest.split_first_chunk::<9>() {
        let [a, b, c, kind, flags, id @ ..] = *head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let id = u32::from_be_bytes(id);
        let what = |wrong: &str| Err(format!("{wrong}: frame {kind} of {id}, {length} bytes"));
        if length > LARGEST {
            return what("a frame too large");
        }
        let Some(next) = behind.get(length..) else {
            break;
        };
        if is_first && kind != SETTINGS {
            return what("not settings first");
        }
        is_first = false;
        match kind {
            HEADERS | DATA => {
                let is_known = open.contains_key(&id);
                if id % 2 == 0 || open.get(&id) == Some(&true) || (kind == DATA && !is_known) {
                    return what("out of order");
                }
                open.insert(id, flags & END_STREAM != 0);
            }
            RST_STREAM | WINDOW_UPDATE | CONTINUATION => {}
            SETTINGS | PING | GOAWAY if id == 0 => {}
            _ => return what("a frame that no server sends"),
        }
        rest = next;
    }
    let done = open.into_iter().filter(|(_, is_done)| *is_done);
    Ok(done.map(|(id, _)| id).collect())
}
