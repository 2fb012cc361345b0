//! Numbers by name, in Prometheus text form.
//!
//! What is counted per request is counted per worker, in atomics that no other worker writes, and
//! summed when somebody asks: the hot path shares no cache line. Rare events share one table.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// What kind of route a request was for.
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

/// How many refusal reasons there can be.
const MAX_REASONS: usize = 64;

/// What one worker counts. Only its own thread writes.
#[derive(Debug)]
pub struct WorkerMetrics {
    requests: [[AtomicU64; STATUSES.len()]; RouteClass::ALL.len()],
    refusals: [AtomicU64; MAX_REASONS],
    added: Histogram,
    upstream: Histogram,
    bytes_out: AtomicU64,
    connections: AtomicU64,
    accepted: AtomicU64,
    panics: AtomicU64,
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
            accepted: AtomicU64::new(0),
            panics: AtomicU64::new(0),
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

    /// How long we held a request, without the upstream's part.
    pub fn added(&self, span: Duration) {
        self.added.observe(span);
    }

    /// How long the upstream took to its response head.
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

    /// Connections open on this worker.
    pub fn open_connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// How the pool stands; told a few times a second.
    pub fn pool(&self, number: PoolNumber, value: u64) {
        if let Some(counter) = self.pool.get(number as usize) {
            counter.store(value, Ordering::Relaxed);
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
}

impl Event {
    const ALL: [Self; 11] = [
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

/// A number somebody else keeps, read when the page is asked for.
pub struct Reading {
    /// The metric's name, without the prefix `sidegate_`.
    pub name: &'static str,
    /// What it is, for the page.
    pub help: &'static str,
    /// Whether it only ever grows.
    pub kind: Kind,
    /// Reads it.
    pub read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What kind of number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Everything the metrics page shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// A page over these sources. `reasons` are the refusals' names by index.
    pub fn new(
        workers: Vec<Arc<WorkerMetrics>>,
        reasons: &'static [&'static str],
        events: Arc<Events>,
        readings: Vec<Reading>,
    ) -> Self {
        let mut registry = Registry::with_prefix("sidegate");
        registry.register_collector(Box::new(Page {
            workers,
            reasons,
            events,
            readings,
        }));
        Self { registry }
    }

    /// The page.
    pub fn render(&self) -> String {
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut page, &self.registry);
        page
    }
}

#[derive(Debug)]
struct Page {
    workers: Vec<Arc<WorkerMetrics>>,
    reasons: &'static [&'static str],
    events: Arc<Events>,
    readings: Vec<Reading>,
}

impl Page {
    fn sum(&self, pick: impl Fn(&WorkerMetrics) -> Option<&AtomicU64>) -> u64 {
        self.workers
            .iter()
            .filter_map(|worker| pick(worker))
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum()
    }

    fn encode_requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "requests",
            "Requests answered, by kind of route and status class",
            None,
            MetricType::Counter,
        )?;
        for class in RouteClass::ALL {
            for (index, status) in STATUSES.iter().enumerate() {
                let count = self.sum(|w| w.requests.get(class as usize)?.get(index));
                let labels = [("route", class.as_str()), ("status", *status)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "refusals",
            "Requests refused, by reason",
            None,
            MetricType::Counter,
        )?;
        for (index, reason) in self.reasons.iter().enumerate() {
            let count = self.sum(|w| w.refusals.get(index));
            let labels = [("reason", *reason)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn encode_histogram(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        pick: impl Fn(&WorkerMetrics) -> &Histogram,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let micros = self.sum(|w| Some(&pick(w).micros));
        let mut buckets = Vec::with_capacity(BUCKETS.len() + 1);
        let mut total = 0;
        for index in 0..=BUCKETS.len() {
            let count = self.sum(|w| pick(w).buckets.get(index));
            total += count;
            let bound = BUCKETS
                .get(index)
                .map_or(f64::INFINITY, |micros| seconds(*micros));
            buckets.push((bound, count));
        }
        family.encode_histogram::<NoLabelSet>(seconds(micros), total, &buckets, None)
    }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_requests(&mut encoder)?;
        self.encode_histogram(
            &mut encoder,
            "added_latency_seconds",
            "Time Sidegate itself held a request, without the upstream's part",
            |w| &w.added,
        )?;
        self.encode_histogram(
            &mut encoder,
            "upstream_latency_seconds",
            "Time from forwarding a request to the upstream's response head",
            |w| &w.upstream,
        )?;
        let mut family = encoder.encode_descriptor(
            "events",
            "Log-ins, refreshes and other acts, by outcome",
            None,
            MetricType::Counter,
        )?;
        for event in Event::ALL {
            let (act, outcome) = event.name();
            let labels = [("act", act), ("outcome", outcome)];
            ConstCounter::new(self.events.so_far(event)).encode(family.encode_family(&labels)?)?;
        }
        let own = [
            (
                "response_bytes",
                "Response body bytes sent",
                Kind::Counter,
                self.sum(|w| Some(&w.bytes_out)),
            ),
            (
                "connections",
                "Client connections open",
                Kind::Gauge,
                self.sum(|w| Some(&w.connections)),
            ),
            (
                "accepted",
                "Client connections accepted",
                Kind::Counter,
                self.sum(|w| Some(&w.accepted)),
            ),
            (
                "panics",
                "Requests cut by a panic",
                Kind::Counter,
                self.sum(|w| Some(&w.panics)),
            ),
        ];
        for (name, help, kind, value) in own {
            encode_number(&mut encoder, name, help, kind, value)?;
        }
        for number in PoolNumber::ALL {
            let (name, help, kind) = number.shown();
            let value = self.sum(|w| w.pool.get(number as usize));
            encode_number(&mut encoder, name, help, kind, value)?;
        }
        for reading in &self.readings {
            let value = (reading.read)();
            encode_number(
                &mut encoder,
                reading.name,
                reading.help,
                reading.kind,
                value,
            )?;
        }
        Ok(())
    }
}

fn encode_number(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: Kind,
    value: u64,
) -> fmt::Result {
    match kind {
        Kind::Counter => {
            let metric = ConstCounter::new(value);
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode(family)
        }
        Kind::Gauge => {
            let metric = ConstGauge::new(value);
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode(family)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_sums_the_workers() {
        let workers: Vec<_> = (0..2).map(|_| Arc::new(WorkerMetrics::default())).collect();
        for worker in &workers {
            worker.request(RouteClass::Upstream, 200);
            worker.refusal(1);
            worker.added(Duration::from_micros(60));
            worker.pool(PoolNumber::Idle, 3);
        }
        let events = Arc::new(Events::default());
        events.count(Event::LoginGranted);
        let reading = Reading {
            name: "sessions",
            help: "Live sessions",
            kind: Kind::Gauge,
            read: Box::new(|| 7),
        };
        let page = Metrics::new(workers, &["one", "two"], events, vec![reading]).render();
        for line in [
            "sidegate_requests_total{route=\"upstream\",status=\"2xx\"} 2",
            "sidegate_refusals_total{reason=\"two\"} 2",
            "sidegate_added_latency_seconds_bucket{le=\"0.0001\"} 2",
            "sidegate_added_latency_seconds_bucket{le=\"+Inf\"} 2",
            "sidegate_added_latency_seconds_count 2",
            "sidegate_events_total{act=\"login\",outcome=\"granted\"} 1",
            "sidegate_upstream_idle 6",
            "sidegate_sessions 7",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }
}
