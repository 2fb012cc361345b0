//! How do bytes move between a client and the upstream after they have switched protocols?
//!
//! An idle flow holds no buffer: bytes are written as soon as they are read, and only those that the other side
//! does not accept yet are kept. The end of one side is forwarded to the other; the flow is over when both sides
//! have ended.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use crate::gateway::tunnel::direction::{Direction, drain};
use crate::gateway::tunnel::frames;
use crate::proxy::DeadlineTimer;

/// How long a side may accept nothing although bytes wait for it.
const STALL: Duration = Duration::from_secs(60);

/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a flow has ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Both sides have ended.
    Finished,
    /// A side failed.
    Broken,
    /// Nothing moved for too long.
    Silent,
}

/// The bytes between two sides.
#[derive(Debug)]
pub(crate) struct Flow<C, U> {
    client: C,
    upstream: U,
    up: Direction,
    down: Direction,
    is_websocket: bool,
    idle: Option<Duration>,
    moved_at: Instant,
    timer: DeadlineTimer,
}

impl<C, U> Flow<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    pub(crate) fn new(client: C, upstream: U, is_websocket: bool, idle: Option<Duration>) -> Self {
        Self {
            client,
            upstream,
            up: Direction::default(),
            down: Direction::default(),
            is_websocket,
            idle,
            moved_at: Instant::now(),
            timer: DeadlineTimer::default(),
        }
    }

    /// How many bytes were sent to the client.
    pub(crate) const fn bytes_down(&self) -> u64 {
        self.down.bytes
    }

    /// Returns when more bytes have arrived from the client, or with an error when the flow is over.
    pub(crate) async fn run(&mut self) -> Result<(), Over> {
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

    /// Ready when nothing has moved for too long: `STALL` when a side does not accept the kept bytes, or when one
    /// side has ended and the other has not; the configured time otherwise.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let is_stalled = [&self.up, &self.down]
            .into_iter()
            .any(|way| way.ended || way.has_kept());
        let Some(limit) = is_stalled.then_some(STALL).or(self.idle) else {
            return Poll::Pending;
        };
        let elapsed = self.timer.poll(cx, self.moved_at + limit);
        elapsed.map(|()| Over::Silent)
    }

    /// Ends the flow. A WebSocket receives a close frame with a code and a reason, after the frame that is being
    /// sent to the client. The client is then read until it closes, for a short time, so that the close frame
    /// is not lost in a reset connection. Other protocols have no such message and are cut.
    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        if self.is_websocket {
            let deadline = Instant::now() + CLOSE_TIMEOUT;
            // A side that does not answer in time is cut.
            drop(timeout_at(deadline, self.send_close(code, reason)).await);
        }
    }

    async fn send_close(&mut self, code: u16, reason: &str) -> io::Result<()> {
        poll_fn(|cx| self.poll_border(cx)).await?;
        if !self.down.frames.is_closed() {
            self.client.write_all(&frames::close(code, reason)).await?;
        }
        if self.up.frames.is_between() && !self.up.has_kept() && !self.up.frames.is_closed() {
            let close = frames::masked_close(code, reason);
            // An error does not matter: the connection ends in any case.
            drop(self.upstream.write_all(&close).await);
        }
        self.client.flush().await?;
        self.client.shutdown().await?;
        poll_fn(|cx| drain(cx, &mut self.client)).await
    }

    /// Ready when the frame that is being sent to the client is complete.
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    /// A flow, and the far ends of its client and its upstream, with this much buffer.
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
    async fn bytes_pass_both_ways_and_each_end_of_stream_is_forwarded() {
        let (flow, mut client, mut upstream) = flow(7);
        let exchange = async {
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
            // One side has ended; the other may still send.
            to_client.shutdown().await.unwrap();
            assert_eq!(from_upstream.read(&mut [0]).await.unwrap(), 0);
            to_upstream.write_all(b"bye").await.unwrap();
            let mut bye = [0; 3];
            from_client.read_exact(&mut bye).await.unwrap();
            to_upstream.shutdown().await.unwrap();
            assert_eq!(&bye, b"bye");
        };
        let (over, ()) = tokio::join!(over(flow), exchange);
        assert_eq!(over, Over::Finished);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_tunnel_times_out_and_a_stalled_side_earlier() {
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
    async fn a_close_frame_waits_for_the_current_frame_up_to_a_limit() {
        let (mut parted, mut client, mut upstream) = flow(1_024);
        upstream.write_all(b"\x82\x04ab").await.unwrap();
        let rest = async {
            let mut begun = [0; 4];
            client.read_exact(&mut begun).await.unwrap();
            upstream.write_all(b"cd").await.unwrap();
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.unwrap();
            drop(client);
            assert_eq!(received, b"cd\x88\x05\x03\xf0bye");
            let mut sent = [0; 11];
            upstream.read_exact(&mut sent).await.unwrap();
            assert_eq!(&sent, b"\x88\x85\0\0\0\0\x03\xf0bye");
        };
        let part = async {
            let first = tokio::time::timeout(Duration::from_millis(1), parted.run()).await;
            assert!(first.is_err());
            parted.close(1008, "bye").await;
        };
        tokio::join!(part, rest);

        let began = Instant::now();
        let (mut stuck, _client, mut upstream) = flow(1_024);
        upstream.write_all(b"\x82\x04ab").await.unwrap();
        stuck.close(1008, "bye").await;
        assert_eq!(began.elapsed(), CLOSE_TIMEOUT);
    }
}
