//! How do bytes move in one direction of a tunnel?

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gateway::tunnel::frames::Frames;

/// How much is read at once.
const PORTION: usize = 8 * 1024;

/// How many portions are moved in one direction before the other one is polled.
const BURST: usize = 16;

/// One direction of a tunnel. At most one portion is kept for the other side.
#[derive(Debug, Default)]
pub(crate) struct Direction {
    kept: Vec<u8>,
    kept_from: usize,
    pub(crate) frames: Frames,
    pub(crate) ended: bool,
    shut: bool,
    pub(crate) bytes: u64,
}

impl Direction {
    /// Whether bytes wait for the other side.
    pub(crate) fn has_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Moves as many bytes as possible. Ready when this direction has ended.
    pub(crate) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..BURST {
            ready!(self.poll_write(cx, to))?;
            if self.ended {
                return self.poll_shut(cx, to);
            }
            if self.poll_read(cx, from, to)?.is_pending() {
                // Nothing more can be read now, so bytes that a lower layer buffers are sent.
                let _flushed = Pin::new(to).poll_flush(cx)?;
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes the kept bytes.
    pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<io::Result<()>> {
        while self.kept_from < self.kept.len() {
            let rest = self.kept.get(self.kept_from..).unwrap_or_default();
            let written = ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.kept_from += written;
        }
        self.kept = Vec::new();
        self.kept_from = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes as much as the other side accepts. No bytes may be kept before.
    pub(crate) fn poll_read<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut portion = [0; PORTION];
        let mut buffer = ReadBuf::new(&mut portion);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if read.is_empty() {
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        self.frames.advance(read);
        self.bytes += read.len() as u64;
        let written = match Pin::new(to).poll_write(cx, read) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        if let Some(rest) = read.get(written..).filter(|rest| !rest.is_empty()) {
            self.kept.extend_from_slice(rest);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shut<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(to).poll_shutdown(cx))?;
            self.shut = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads and discards until the end.
pub(crate) fn drain<R: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    from: &mut R,
) -> Poll<io::Result<()>> {
    let mut portion = [0; 1024];
    loop {
        let mut buffer = ReadBuf::new(&mut portion);
        ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}
