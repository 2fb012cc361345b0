//! Decodes the body of an HTTP/1.1 answer, according to the framing in its head.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::proxy::chunked::{Decoder, take};
use crate::proxy::error::Fault;

/// How the body is framed (RFC 9112, 6.3), and how much of it is still to come.
#[derive(Debug)]
pub(super) enum Payload {
    /// This many more bytes.
    Length(u64),
    /// In chunks.
    Chunked(Decoder),
    /// Until the connection ends.
    Close,
}

/// The result of one decoding step.
#[derive(Debug)]
pub(super) enum Step {
    /// A piece of the body.
    Data(Bytes),
    /// The trailer fields; the end comes next.
    Trailers(HeaderMap),
    /// The body is over.
    End,
    /// More input is needed.
    More,
}

impl Payload {
    /// A body of no bytes.
    pub(super) const EMPTY: Self = Self::Length(0);

    /// Takes the next piece from the front of `input`.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Step, Fault> {
        match self {
            Self::Length(0) => Ok(Step::End),
            Self::Chunked(decoder) => decoder.decode(input),
            Self::Length(_) | Self::Close if input.is_empty() => Ok(Step::More),
            Self::Length(left) => {
                let (data, rest) = take(input, *left);
                *left = rest;
                Ok(Step::Data(data))
            }
            Self::Close => Ok(Step::Data(input.split().freeze())),
        }
    }

    /// The connection has ended. That ends a body without framing, and is an error in any other.
    pub(super) fn disconnect(&mut self) -> Result<(), Fault> {
        match self {
            Self::Close => {
                *self = Self::EMPTY;
                Ok(())
            }
            done if done.is_done() => Ok(()),
            Self::Length(_) | Self::Chunked(_) => Err(Fault::CutShort),
        }
    }

    /// Whether the whole body was taken.
    pub(super) const fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(decoder) => decoder.is_done(),
            Self::Close => false,
        }
    }
}
