//! Which metrics are there, and where are they counted? The output has the text format of Prometheus.
//!
//! Each worker counts its requests in atomics that no other worker writes. They are summed when the page
//! is requested, so the hot path shares no cache line. Rare events share one table.

mod clocks;
mod dropped;
mod lost;
mod page;
mod reloads;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use clocks::ClockNumbers;
pub use dropped::Dropped;
pub use lost::LostLines;
pub use page::{Kind, Metrics, Reading};
pub use reloads::Reloads;

/// The kind of route of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteClass {
    /// Forwarded to the upstream.
    Upstream,
    /// Answered by a mount.
    Api,
    /// Refused before either.
    Refused,
}

impl RouteClass {
    const ALL: [Self; 3] = [Self::Upstream, Self::Api, Self::Refused];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Api => "api",
            Self::Refused => "refused",
        }
    }
}

/// Status classes, as the label `status` shows them.
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Upper bounds of the histograms' buckets, in microseconds.
const BUCKETS: [u64; 12] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 10_000_000,
];

/// The maximum number of refusal reasons.
const MAX_REASONS: usize = 64;

/// The counters of one worker. Only its own thread writes them.
#[derive(Debug)]
pub struct WorkerMetrics {
    requests: [[AtomicU64; STATUSES.len()]; RouteClass::ALL.len()],
    refusals: [AtomicU64; MAX_REASONS],
    added: Histogram,
    upstream: Histogram,
    bytes_out: AtomicU64,
    connections: AtomicU64,
    resting: AtomicU64,
    accepted: AtomicU64,
    panics: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    pool: [AtomicU64; PoolNumber::ALL.len()],
}

/// A number about a worker's connections to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name is the whole story")]
pub enum PoolNumber {
    Open,
    Idle,
    Created,
    Reused,
    Retried,
}

impl PoolNumber {
    const ALL: [Self; 5] = [
        Self::Open,
        Self::Idle,
        Self::Created,
        Self::Reused,
        Self::Retried,
    ];

    const fn shown(self) -> (&'static str, &'static str, Kind) {
        match self {
            Self::Open => (
                "upstream_connections",
                "Upstream connections open",
                Kind::Gauge,
            ),
            Self::Idle => ("upstream_idle", "Upstream connections idle", Kind::Gauge),
            Self::Created => (
                "upstream_created",
                "Upstream connections made",
                Kind::Counter,
            ),
            Self::Reused => (
                "upstream_reused",
                "Requests on a connection that was used before",
                Kind::Counter,
            ),
            Self::Retried => (
                "upstream_retried",
                "Requests repeated on a fresh connection",
                Kind::Counter,
            ),
        }
    }
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            refusals: std::array::from_fn(|_| AtomicU64::new(0)),
            added: Histogram::default(),
            upstream: Histogram::default(),
            bytes_out: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            resting: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            dropped: Default::default(),
            pool: Default::default(),
        }
    }
}

impl WorkerMetrics {
    /// One request answered.
    pub fn request(&self, class: RouteClass, status: u16) {
        let class = class as usize;
        let status = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = self.requests.get(class).and_then(|row| row.get(status)) {
            add(counter, 1);
        }
    }

    /// One request refused, by the reason's index.
    pub fn refusal(&self, reason: usize) {
        if let Some(counter) = self.refusals.get(reason) {
            add(counter, 1);
        }
    }

    /// The time that a request took, without that of the upstream.
    pub fn added(&self, span: Duration) {
        self.added.observe(span);
    }

    /// The time until the head of the upstream's response.
    pub fn upstream(&self, span: Duration) {
        self.upstream.observe(span);
    }

    /// Response bytes written.
    pub fn bytes_out(&self, bytes: u64) {
        add(&self.bytes_out, bytes);
    }

    /// A connection was accepted.
    pub fn connected(&self) {
        add(&self.accepted, 1);
        add(&self.connections, 1);
    }

    /// A connection is over.
    pub fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// A connection dropped its buffers until its client sends something.
    pub fn rests(&self) {
        self.resting.fetch_add(1, Ordering::Relaxed);
    }

    /// A resting connection is used again, or closed.
    pub fn rested(&self) {
        self.resting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections open on this worker.
    pub fn open_connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// The state of the pool, updated a few times per second.
    pub fn pool(&self, number: PoolNumber, value: u64) {
        if let Some(counter) = self.pool.get(number as usize) {
            counter.store(value, Ordering::Relaxed);
        }
    }

    /// A connection was not served, or cut, for this reason.
    pub fn dropped(&self, reason: Dropped) {
        if let Some(counter) = self.dropped.get(reason as usize) {
            add(counter, 1);
        }
    }

    /// A request's task panicked; its connection was cut.
    pub fn panicked(&self) {
        add(&self.panics, 1);
    }
}

/// One writer: a load and a store instead of a locked instruction.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(n),
        Ordering::Relaxed,
    );
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    fn observe(&self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS
            .iter()
            .position(|bound| micros <= *bound)
            .unwrap_or(BUCKETS.len());
        if let Some(counter) = self.buckets.get(bucket) {
            add(counter, 1);
        }
        add(&self.micros, micros);
    }
}

/// Rare events, counted by the service for all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name is the whole story")]
pub enum Event {
    LoginGranted,
    LoginRefused,
    LoginLimited,
    RefreshRotated,
    RefreshReplayed,
    RefreshAhead,
    RefreshReused,
    RefreshRefused,
    Signup,
    SessionEnded,
    PasswordChanged,
    FirstSightAlive,
    FirstSightEnded,
    FirstSightStale,
    FirstSightUnanswered,
    MailQueued,
    MailSent,
    MailPostponed,
    MailFailed,
    MailDropped,
}

impl Event {
    const ALL: [Self; 20] = [
        Self::LoginGranted,
        Self::LoginRefused,
        Self::LoginLimited,
        Self::RefreshRotated,
        Self::RefreshReplayed,
        Self::RefreshAhead,
        Self::RefreshReused,
        Self::RefreshRefused,
        Self::Signup,
        Self::SessionEnded,
        Self::PasswordChanged,
        Self::FirstSightAlive,
        Self::FirstSightEnded,
        Self::FirstSightStale,
        Self::FirstSightUnanswered,
        Self::MailQueued,
        Self::MailSent,
        Self::MailPostponed,
        Self::MailFailed,
        Self::MailDropped,
    ];

    const fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::LoginGranted => ("login", "granted"),
            Self::LoginRefused => ("login", "refused"),
            Self::LoginLimited => ("login", "limited"),
            Self::RefreshRotated => ("refresh", "rotated"),
            Self::RefreshReplayed => ("refresh", "replayed"),
            Self::RefreshAhead => ("refresh", "ahead"),
            Self::RefreshReused => ("refresh", "reused"),
            Self::RefreshRefused => ("refresh", "refused"),
            Self::Signup => ("signup", "created"),
            Self::SessionEnded => ("session", "ended"),
            Self::PasswordChanged => ("password", "changed"),
            Self::FirstSightAlive => ("first_sight", "alive"),
            Self::FirstSightEnded => ("first_sight", "ended"),
            Self::FirstSightStale => ("first_sight", "stale"),
            Self::FirstSightUnanswered => ("first_sight", "unanswered"),
            Self::MailQueued => ("mail", "queued"),
            Self::MailSent => ("mail", "sent"),
            Self::MailPostponed => ("mail", "postponed"),
            Self::MailFailed => ("mail", "failed"),
            Self::MailDropped => ("mail", "dropped"),
        }
    }
}

/// The table of rare events.
#[derive(Debug, Default)]
pub struct Events([AtomicU64; Event::ALL.len()]);

impl Events {
    /// Counts one.
    pub fn count(&self, event: Event) {
        self.add(event, 1);
    }

    /// Counts several.
    pub fn add(&self, event: Event, n: u64) {
        if let Some(counter) = self.0.get(event as usize) {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// How many so far.
    pub fn so_far(&self, event: Event) -> u64 {
        self.0
            .get(event as usize)
            .map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}
