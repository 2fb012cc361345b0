//! One worker: one thread, one runtime, one listener, one pool, one token cache. Workers share what
//! is rarely written (the service, the rules, the revocations), and no lock that a forwarded request
//! takes; the doorman's, who counts connections by address, is taken once a connection.
//!
//! A worker's pipeline can be exchanged while it works: each request is answered to its end by the
//! pipeline it found when it began.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use socket2::SockRef;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::server::accept;
use crate::server::connection::{self, Deadlines, Handshakes, Vigil};
use crate::server::doorman::{Admitted, Doorman, Full};
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::server::listener::{BoundSocket, Listener};
use crate::server::pipeline::Pipeline;
use crate::server::stream::Stream;
use crate::server::tasks;
use crate::telemetry::metrics::{Dropped, PoolNumber};
use crate::tls::Door;
use crate::types::share::{Claimant, Group, User};
use crate::types::{descriptors, memory};

/// How often a worker looks after its connections and hands over its log.
const TICK: Duration = Duration::from_millis(250);

/// How often free memory is returned, in milliseconds.
const SETTLE_EVERY: u64 = 1000;

/// How long connections are still taken from the kernel before the listener closes.
const LAST_ACCEPT: Duration = Duration::from_millis(50);

/// What a client above the connection limit is told.
pub(super) const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\n\
    content-length: 21\r\nretry-after: 1\r\nconnection: close\r\n\r\ntoo many connections\n";

/// A worker's present pipeline. Who exchanges it holds this too.
pub type Exchangeable = ArcSwap<Pipeline>;

/// How connections begin.
#[derive(Debug)]
pub struct Entrance {
    /// Whether trusted peers say for whom they speak.
    pub proxy_protocol: bool,
    /// TLS, if it is spoken.
    pub door: Option<Arc<Door>>,
    /// Handshakes that may do their sums.
    pub(super) handshakes: Handshakes,
}

impl Entrance {
    /// With TLS, or without.
    pub fn new(proxy_protocol: bool, door: Option<Arc<Door>>) -> Self {
        Self {
            proxy_protocol,
            door,
            handshakes: Handshakes::new(),
        }
    }
}

/// What a worker is made from.
#[derive(Debug)]
pub struct Worker {
    pipeline: Arc<Exchangeable>,
    doorman: Arc<Doorman>,
    lifecycle: Lifecycle,
    entrance: Entrance,
    leaves_queue: bool,
    connections: Mutex<HashMap<u64, Arc<Vigil>>>,
    next: AtomicU64,
    tick: AtomicU64,
    alive: Arc<AtomicU64>,
}

impl Worker {
    /// A worker that answers with this pipeline. `alive` counts its ticks, for `/livez`.
    pub fn new(
        pipeline: Arc<Exchangeable>,
        doorman: Arc<Doorman>,
        lifecycle: Lifecycle,
        entrance: Entrance,
        alive: Arc<AtomicU64>,
    ) -> Self {
        Self {
            pipeline,
            doorman,
            lifecycle,
            entrance,
            leaves_queue: false,
            connections: Mutex::new(HashMap::new()),
            next: AtomicU64::new(0),
            tick: AtomicU64::new(1),
            alive,
        }
    }

    /// At the end leaves connections that nobody has accepted to the next process, which has the same
    /// socket.
    #[must_use]
    pub fn leaving_the_queue(self, leaves_queue: bool) -> Self {
        Self {
            leaves_queue,
            ..self
        }
    }

    /// Starts the worker's thread. It ends when the lifecycle is over and nothing is in flight.
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

    /// The pipeline for a request that begins at this moment. It is this worker's own, so no other
    /// worker touches its count.
    pub(super) fn pipeline(&self) -> Arc<Pipeline> {
        self.pipeline.load_full()
    }

    /// How connections begin.
    pub(super) fn entrance(&self) -> &Entrance {
        &self.entrance
    }

    /// The network that a client competes as; none for a peer that speaks for many.
    pub(super) fn group_of(&self, client: IpAddr) -> Option<Group> {
        let is_many = self.pipeline.load().trusted.trust(client);
        let claimant = Claimant {
            address: (!is_many).then_some(client),
            user: User::NotAsked,
        };
        claimant.groups().widest()
    }

    /// How long things may take.
    pub(super) fn deadlines(&self) -> Deadlines {
        self.pipeline.load().deadlines
    }

    /// Coarse time in milliseconds, moved by the tick.
    pub(super) fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    /// Whether the process is about to end, so that connections close after their answer.
    pub(super) fn is_finishing(&self) -> bool {
        self.lifecycle.phase() >= Phase::Draining
    }

    async fn run(self: Arc<Self>, socket: BoundSocket) -> io::Result<()> {
        let listener = socket.listen()?;
        let keeper = tasks::spawn(Arc::clone(&self).keep());
        tokio::select! {
            () = self.accept(&listener) => {}
            () = self.lifecycle.reached(Phase::Closing) => {}
        }
        if !self.leaves_queue {
            self.accept_rest(&listener).await;
        }
        drop(listener);
        self.drained().await;
        keeper.abort();
        self.pipeline().log.flush();
        Ok(())
    }

    async fn accept(self: &Arc<Self>, listener: &Listener) {
        loop {
            let (stream, peer) = accept::next("public", || listener.accept()).await;
            self.admit(stream, peer);
        }
    }

    /// Takes the connections that the kernel holds already: with the listener they would be reset.
    async fn accept_rest(self: &Arc<Self>, listener: &Listener) {
        let until = Instant::now() + LAST_ACCEPT;
        while let Ok(Ok((stream, peer))) = timeout_at(until, listener.accept()).await {
            self.admit(stream, peer);
        }
    }

    fn admit(self: &Arc<Self>, stream: Stream, peer: IpAddr) {
        let one_client =
            matches!(stream, Stream::Tcp(_)) && !self.pipeline.load().trusted.trust(peer);
        let admitted = if descriptors::is_reserved(&stream) {
            Err(Full::Everywhere)
        } else {
            self.doorman.enter(one_client.then_some(peer))
        };
        match admitted {
            Ok(place) => self.serve(stream, peer, place),
            Err(full) => {
                let reason = match full {
                    Full::Everywhere => Dropped::Full,
                    Full::ForThisAddress => Dropped::AddressFull,
                };
                self.pipeline.load().metrics.dropped(reason);
                // Before a handshake there is nothing that could be said.
                if self.entrance.door.is_none() {
                    turn_away(&stream);
                }
            }
        }
    }

    fn serve(self: &Arc<Self>, stream: Stream, peer: IpAddr, place: Admitted) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let vigil = Arc::new(Vigil::new(self.tick()));
        if self.is_finishing() {
            vigil.finish(self.tick());
        }
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Arc::clone(&vigil));
        self.pipeline.load().metrics.connected();
        let open = Open {
            worker: Arc::clone(self),
            vigil,
            id,
            place,
        };
        tasks::spawn(connection::serve(stream, peer, open));
    }

    /// Looks after the connections until the worker ends.
    async fn keep(self: Arc<Self>) {
        let began = Instant::now();
        let mut settled = 0;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut phase = self.lifecycle.watch();
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let now = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX) + 1;
                    self.tick.store(now, Ordering::Relaxed);
                    self.alive.fetch_add(1, Ordering::Relaxed);
                    let pipeline = self.pipeline();
                    let metrics = &pipeline.metrics;
                    self.each(|vigil| {
                        vigil.sweep(now, &pipeline.deadlines, |reason| metrics.dropped(reason));
                    });
                    pipeline.proxy.sweep();
                    if now >= settled + SETTLE_EVERY {
                        settled = now;
                        memory::settle();
                    }
                    tell_pool(&pipeline);
                    pipeline.log.flush();
                }
                Ok(()) = phase.changed() => match *phase.borrow_and_update() {
                    Phase::Starting | Phase::Serving => {}
                    Phase::Draining | Phase::Ending | Phase::Closing => {
                        let now = self.tick();
                        self.each(|vigil| vigil.finish(now));
                    }
                    Phase::Stopped => self.each(|vigil| {
                        vigil.cut();
                    }),
                },
            }
        }
    }

    fn each(&self, tell: impl Fn(&Vigil)) {
        let connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for vigil in connections.values() {
            tell(vigil);
        }
    }

    /// Waits until the last connection is gone, or until what is left is cut.
    async fn drained(&self) {
        let mut looks = interval(Duration::from_millis(5));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let open = self
                .connections
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .len();
            if open == 0 {
                return;
            }
        }
    }
}

fn tell_pool(pipeline: &Pipeline) {
    let stats = pipeline.proxy.stats();
    let metrics = &pipeline.metrics;
    metrics.pool(PoolNumber::Open, stats.open);
    metrics.pool(PoolNumber::Idle, stats.idle);
    metrics.pool(PoolNumber::Created, stats.created);
    metrics.pool(PoolNumber::Reused, stats.reused);
    metrics.pool(PoolNumber::Retried, stats.retried);
}

/// An open connection in the worker's books; struck out on drop, whatever ended it.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) worker: Arc<Worker>,
    pub(super) vigil: Arc<Vigil>,
    id: u64,
    place: Admitted,
}

impl Open {
    /// The connection is this client's, whom its peer speaks for; whether it has a place for it.
    pub(super) fn stands_for(&mut self, client: IpAddr) -> bool {
        if self.worker.pipeline().trusted.trust(client) {
            return true;
        }
        let has_place = self.place.count(client);
        if !has_place {
            self.note(Dropped::AddressFull);
        }
        has_place
    }

    /// Counts why the connection is not served.
    pub(super) fn note(&self, reason: Dropped) {
        self.worker.pipeline.load().metrics.dropped(reason);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.pipeline.load().metrics.disconnected();
        self.worker
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

/// Tells a client above the limit so, and closes the connection at once: many that come together must not
/// hold the last descriptors while their answers wait for a turn.
fn turn_away(stream: &Stream) {
    // A new socket has room for so few bytes. Whether the client hears it is the client's business.
    drop(SockRef::from(stream).send(FULL));
}
