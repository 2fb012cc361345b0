//! Bytes both ways between a client and the upstream, after they have switched protocols.
//!
//! An idle flow holds no buffer: what is read goes straight on, and only what the other side does
//! not take yet is kept, at most one portion a direction. A side that has said all is told on; the
//! flow is over when both have.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, timeout_at};

use crate::proxy::Alarm;
use crate::server::tunnel::frames::{self, Frames};

/// How much is read at once.
const PORTION: usize = 8 * 1024;

/// How many portions go one way before the other way has its turn.
const BURST: usize = 16;

/// How long a side may take nothing of what is ready for it.
const STALL: Duration = Duration::from_secs(60);

/// How long parting may take.
const PARTING: Duration = Duration::from_millis(500);

/// Why a flow is over by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Both sides have said all.
    Finished,
    /// A side broke off.
    Broken,
    /// Nothing moved for too long.
    Silent,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Flow<C, U> {
    client: C,
    upstream: U,
    up: Way,
    down: Way,
    is_websocket: bool,
    idle: Option<Duration>,
    moved_at: Instant,
    alarm: Alarm,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    kept: Vec<u8>,
    kept_from: usize,
    frames: Frames,
    ended: bool,
    shut: bool,
    bytes: u64,
}

impl<C, U> Flow<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(client: C, upstream: U, is_websocket: bool, idle: Option<Duration>) -> Self {
        Self {
            client,
            upstream,
            up: Way::default(),
            down: Way::default(),
            is_websocket,
            idle,
            moved_at: Instant::now(),
            alarm: Alarm::default(),
        }
    }

    /// Bytes that went to the client.
    pub(super) const fn bytes_down(&self) -> u64 {
        self.down.bytes
    }

    /// Ready when bytes came from the client since the last time it was; or when it is over.
    pub(super) async fn run(&mut self) -> Result<(), Over> {
        let before = self.up.bytes;
        poll_fn(|cx| {
            let over = self.poll(cx);
            if self.up.bytes > before && over.is_pending() {
                return Poll::Ready(Ok(()));
            }
            over.map(Err)
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let before = self.up.bytes + self.down.bytes;
        let up = self.up.poll(cx, &mut self.client, &mut self.upstream);
        let down = self.down.poll(cx, &mut self.upstream, &mut self.client);
        match (&up, &down) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {
                return Poll::Ready(Over::Broken);
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Over::Finished),
            _ => {}
        }
        if self.up.bytes + self.down.bytes > before {
            self.moved_at = Instant::now();
        }
        self.poll_silence(cx)
    }

    /// Ready when nothing has moved for too long: a short time when a side does not take what there
    /// is, or has said all and the other does not end; the settings' time otherwise.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let is_stalled = [&self.up, &self.down]
            .into_iter()
            .any(|way| way.ended || !way.kept.is_empty());
        let Some(limit) = is_stalled.then_some(STALL).or(self.idle) else {
            return Poll::Pending;
        };
        let rung = self.alarm.poll(cx, self.moved_at + limit);
        rung.map(|()| Over::Silent)
    }

    /// Ends the flow from here. A WebSocket is closed with a code and a reason: behind the frame that
    /// is on its way to the client, and the client is heard out for a moment, so that the close frame
    /// is not lost in a reset connection. Another protocol has no word for it and is cut.
    pub(super) async fn part(&mut self, code: u16, reason: &str) {
        if self.is_websocket {
            let deadline = Instant::now() + PARTING;
            // Whoever does not take part in parting is cut.
            drop(timeout_at(deadline, self.say_goodbye(code, reason)).await);
        }
    }

    async fn say_goodbye(&mut self, code: u16, reason: &str) -> io::Result<()> {
        poll_fn(|cx| self.poll_border(cx)).await?;
        if !self.down.frames.is_closed() {
            self.client.write_all(&frames::close(code, reason)).await?;
        }
        if self.up.frames.is_between() && self.up.kept.is_empty() && !self.up.frames.is_closed() {
            let close = frames::masked_close(code, reason);
            // The upstream is told as a courtesy; the connection ends in any case.
            drop(self.upstream.write_all(&close).await);
        }
        self.client.flush().await?;
        self.client.shutdown().await?;
        poll_fn(|cx| drain(cx, &mut self.client)).await
    }

    /// Ready when the last frame that began to go to the client has gone.
    fn poll_border(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.down.poll_write(cx, &mut self.client))?;
            if self.down.frames.is_between() || self.down.ended {
                return Poll::Ready(Ok(()));
            }
            ready!(
                self.down
                    .poll_read(cx, &mut self.upstream, &mut self.client)
            )?;
        }
    }
}

impl Way {
    /// Moves what can be moved. Ready when this direction is over.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
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
                // Nothing is to come for a while: what a layer below holds back must go.
                let _flushed = Pin::new(to).poll_flush(cx)?;
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what is kept.
    fn poll_write<W: AsyncWrite + Unpin>(
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

    /// Reads once and passes on what the other side takes. Nothing must be kept.
    fn poll_read<R, W>(
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

/// Reads and forgets until the end.
fn drain<R: AsyncRead + Unpin>(cx: &mut Context<'_>, from: &mut R) -> Poll<io::Result<()>> {
    let mut portion = [0; 1024];
    loop {
        let mut buffer = ReadBuf::new(&mut portion);
        ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    /// A flow, and the far ends of its client and its upstream, which take so many bytes at once.
    fn flow(room: usize) -> (Flow<DuplexStream, DuplexStream>, DuplexStream, DuplexStream) {
        let (client, near_client) = duplex(room);
        let (upstream, near_upstream) = duplex(room);
        let idle = Some(Duration::from_secs(3_600));
        let flow = Flow::new(near_client, near_upstream, true, idle);
        (flow, client, upstream)
    }

    async fn over(mut flow: Flow<DuplexStream, DuplexStream>) -> Over {
        loop {
            if let Err(over) = flow.run().await {
                return over;
            }
        }
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_each_end_is_told_on() {
        let (flow, mut client, mut upstream) = flow(7);
        let talk = async {
            let sent: Vec<u8> = (0..=255).cycle().take(50_000).collect();
            let (mut up, mut down) = (vec![0; sent.len()], vec![0; sent.len()]);
            let (mut from_client, mut to_client) = tokio::io::split(&mut client);
            let (mut from_upstream, mut to_upstream) = tokio::io::split(&mut upstream);
            let (a, b, c, d) = tokio::join!(
                to_client.write_all(&sent),
                to_upstream.write_all(&sent),
                from_client.read_exact(&mut down),
                from_upstream.read_exact(&mut up),
            );
            a.and(b).and(c.map(drop)).and(d.map(drop)).unwrap();
            assert!(up == sent && down == sent);
            // One side says no more; the other may still answer.
            to_client.shutdown().await.unwrap();
            assert_eq!(from_upstream.read(&mut [0]).await.unwrap(), 0);
            to_upstream.write_all(b"bye").await.unwrap();
            let mut bye = [0; 3];
            from_client.read_exact(&mut bye).await.unwrap();
            to_upstream.shutdown().await.unwrap();
            assert_eq!(&bye, b"bye");
        };
        let (over, ()) = tokio::join!(over(flow), talk);
        assert_eq!(over, Over::Finished);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_a_limit_and_a_side_that_takes_nothing_a_shorter_one() {
        let began = Instant::now();
        let (silent, _client, _upstream) = flow(8);
        assert_eq!(over(silent).await, Over::Silent);
        assert_eq!(began.elapsed(), Duration::from_secs(3_600));

        let began = Instant::now();
        let (stalled, _client, mut upstream) = flow(8);
        upstream.write_all(&[0; 8]).await.unwrap();
        let more = async {
            upstream.write_all(&[0; 8]).await.unwrap();
        };
        let (over, ()) = tokio::join!(over(stalled), more);
        assert_eq!(over, Over::Silent);
        assert_eq!(began.elapsed(), STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn parting_waits_for_the_frame_on_its_way_and_not_for_ever() {
        let (mut parted, mut client, mut upstream) = flow(1_024);
        upstream.write_all(b"\x82\x04ab").await.unwrap();
        let rest = async {
            let mut begun = [0; 4];
            client.read_exact(&mut begun).await.unwrap();
            upstream.write_all(b"cd").await.unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            drop(client);
            assert_eq!(heard, b"cd\x88\x05\x03\xf0bye");
            let mut told = [0; 11];
            upstream.read_exact(&mut told).await.unwrap();
            assert_eq!(&told, b"\x88\x85\0\0\0\0\x03\xf0bye");
        };
        let part = async {
            let first = tokio::time::timeout(Duration::from_millis(1), parted.run()).await;
            assert!(first.is_err());
            parted.part(1008, "bye").await;
        };
        tokio::join!(part, rest);

        let began = Instant::now();
        let (mut stuck, _client, mut upstream) = flow(1_024);
        upstream.write_all(b"\x82\x04ab").await.unwrap();
        stuck.part(1008, "bye").await;
        assert_eq!(began.elapsed(), PARTING);
    }
}
