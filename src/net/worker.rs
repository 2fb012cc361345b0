//! How does one worker run?
//!
//! One worker is one thread with its own runtime and listener. Workers share what is rarely written, and
//! no lock that a request takes: the connection limiter's lock is taken once per connection.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use socket2::SockRef;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::net::accept;
use crate::net::connection;
use crate::net::connection::setup::FULL;
use crate::net::connection_limiter::{ConnectionLimiter, ConnectionPermit, Full};
use crate::net::connections::Connections;
use crate::net::handler::Handler;
use crate::net::lifecycle::{Lifecycle, Phase};
use crate::net::listener::{BoundSocket, Listener};
use crate::net::served::{ConnectionSetup, Served};
use crate::net::stream::Stream;
use crate::net::tasks;
use crate::telemetry::metrics::{Dropped, WorkerMetrics};
use crate::types::{descriptors, memory};

/// How often a worker checks the deadlines of its connections and calls [`Handler::tick`].
const TICK: Duration = Duration::from_millis(250);

/// How often free memory is returned, in milliseconds.
const SETTLE_EVERY: u64 = 1000;

/// How long connections are still accepted before the listener closes.
const LAST_ACCEPT: Duration = Duration::from_millis(50);

/// A worker before it is started.
#[derive(Debug)]
pub struct Worker<H> {
    served: Arc<Served<H>>,
    limiter: Arc<ConnectionLimiter>,
    lifecycle: Lifecycle,
    leaves_queue: bool,
    connections: Arc<Connections>,
    alive: Arc<AtomicU64>,
}

impl<H: Handler> Worker<H> {
    /// A worker whose requests this handler answers. `alive` counts its ticks, for `/livez`.
    pub fn new(
        handler: Arc<ArcSwap<H>>,
        limiter: Arc<ConnectionLimiter>,
        lifecycle: Lifecycle,
        setup: ConnectionSetup,
        metrics: Arc<WorkerMetrics>,
        alive: Arc<AtomicU64>,
    ) -> Self {
        Self {
            served: Arc::new(Served { handler, setup }),
            limiter,
            connections: Arc::new(Connections::new(lifecycle.clone(), metrics)),
            lifecycle,
            leaves_queue: false,
            alive,
        }
    }

    /// Whether connections in the kernel's queue are left there at the end, for the next process, which
    /// has the same socket.
    #[must_use]
    pub fn leaving_the_queue(self, leaves_queue: bool) -> Self {
        Self {
            leaves_queue,
            ..self
        }
    }

    /// Starts the worker's thread. It ends when the lifecycle has ended and no connection is open.
    ///
    /// # Errors
    ///
    /// When the thread cannot be created.
    pub fn start(
        self,
        index: usize,
        socket: BoundSocket,
    ) -> io::Result<JoinHandle<io::Result<()>>> {
        let name = format!("worker-{index}");
        std::thread::Builder::new().name(name).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(Arc::new(self).run(socket))
        })
    }

    async fn run(self: Arc<Self>, socket: BoundSocket) -> io::Result<()> {
        let listener = socket.listen()?;
        let ticking = tasks::spawn(Arc::clone(&self).tick());
        tokio::select! {
            () = self.accept(&listener) => {}
            () = self.lifecycle.reached(Phase::Closing) => {}
        }
        if !self.leaves_queue {
            self.accept_rest(&listener).await;
        }
        drop(listener);
        self.connections.closed().await;
        ticking.abort();
        self.handler().finish();
        Ok(())
    }

    fn handler(&self) -> Arc<H> {
        self.served.handler()
    }

    async fn accept(self: &Arc<Self>, listener: &Listener) {
        loop {
            let (stream, peer) = accept::next("public", || listener.accept()).await;
            self.admit(stream, peer);
        }
    }

    /// Accepts the connections that the kernel has queued: closing the listener would reset them.
    async fn accept_rest(self: &Arc<Self>, listener: &Listener) {
        let until = Instant::now() + LAST_ACCEPT;
        while let Ok(Ok((stream, peer))) = timeout_at(until, listener.accept()).await {
            self.admit(stream, peer);
        }
    }

    fn admit(self: &Arc<Self>, stream: Stream, peer: IpAddr) {
        let is_one_client = matches!(stream, Stream::Tcp(_)) && !self.handler().trusts(peer);
        let admitted = if descriptors::is_reserved(&stream) {
            Err(Full::Everywhere)
        } else {
            self.limiter.enter(is_one_client.then_some(peer))
        };
        match admitted {
            Ok(permit) => self.serve(stream, peer, permit),
            Err(full) => {
                self.connections.metrics().dropped(match full {
                    Full::Everywhere => Dropped::Full,
                    Full::ForThisAddress => Dropped::AddressFull,
                });
                // Before a TLS handshake no response can be sent.
                if self.served.setup.tls.is_none() {
                    refuse(&stream);
                }
            }
        }
    }

    fn serve(self: &Arc<Self>, stream: Stream, peer: IpAddr, permit: ConnectionPermit) {
        let registered = self.connections.register(permit);
        let serving = connection::serve(stream, peer, registered, Arc::clone(&self.served));
        tasks::spawn(serving);
    }

    /// Checks the connections' deadlines until the worker ends.
    async fn tick(self: Arc<Self>) {
        let began = Instant::now();
        let mut settled = 0;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut phase = self.lifecycle.watch();
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let now = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX) + 1;
                    self.alive.fetch_add(1, Ordering::Relaxed);
                    self.sweep(now);
                    if now >= settled + SETTLE_EVERY {
                        settled = now;
                        memory::settle();
                    }
                }
                Ok(()) = phase.changed() => {
                    let phase = *phase.borrow_and_update();
                    self.enter(phase);
                }
            }
        }
    }

    fn sweep(&self, now: u64) {
        let handler = self.handler();
        let deadlines = handler.deadlines();
        self.connections.set_tick(now);
        self.connections.each(|state| {
            state.sweep(now, &deadlines, |reason| {
                self.connections.metrics().dropped(reason);
            });
        });
        handler.tick();
    }

    fn enter(&self, phase: Phase) {
        match phase {
            Phase::Starting | Phase::Serving => {}
            Phase::Draining | Phase::Ending | Phase::Closing => {
                let now = self.connections.tick();
                self.connections.each(|state| state.finish(now));
            }
            Phase::Stopped => self.connections.each(|state| {
                state.cut();
            }),
        }
    }
}

/// Sends the response of a full server and closes the connection at once: many that arrive together must
/// not hold the last descriptors while their responses wait to be sent.
fn refuse(stream: &Stream) {
    // The buffer of a new socket has room for these bytes. A client that has disconnected needs none.
    drop(SockRef::from(stream).send(FULL));
}
