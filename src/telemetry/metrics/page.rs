//! What does the metrics page contain? The sums of the workers' counters, and numbers that other modules keep.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::telemetry::metrics::clocks::{ClockNumbers, Clocks};
use crate::telemetry::metrics::{
    BUCKETS, Dropped, Event, Events, Histogram, LostLines, PoolNumber, Reloads, RouteClass,
    STATUSES, WorkerMetrics,
};

/// A number that another module keeps. It is read when the page is requested.
pub struct Reading {
    /// The metric's name, without the prefix `sidegate_`.
    pub name: &'static str,
    /// The help text on the page.
    pub help: &'static str,
    /// The type of the number.
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

/// The type of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Never decreases.
    Counter,
    /// Can decrease.
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
        reloads: Arc<Reloads>,
        readings: Vec<Reading>,
    ) -> Self {
        let mut registry = Registry::with_prefix("sidegate");
        registry.register_collector(Box::new(Page {
            workers,
            reasons,
            events,
            reloads,
            readings,
        }));
        Self { registry }
    }

    /// The same page with the counters of lost log lines.
    #[must_use]
    pub fn with_lost_lines(mut self, lost: LostLines) -> Self {
        self.registry.register_collector(Box::new(lost));
        self
    }

    /// Also shows how the process's time differs from the wall clock.
    #[must_use]
    pub fn with_clock(mut self, read: impl Fn() -> ClockNumbers + Send + Sync + 'static) -> Self {
        let clocks = Clocks(Box::new(read));
        self.registry.register_collector(Box::new(clocks));
        self
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
    reloads: Arc<Reloads>,
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

    fn encode_dropped(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "connections_dropped",
            "Client connections (over HTTP/2 also streams) turned away or cut, by reason",
            None,
            MetricType::Counter,
        )?;
        for reason in Dropped::ALL {
            let count = self.sum(|w| w.dropped.get(reason as usize));
            let labels = [("reason", reason.as_str())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn encode_reloads(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "config_reloads",
            "Reloads of the configuration, by result",
            None,
            MetricType::Counter,
        )?;
        for (result, count) in self.reloads.by_result() {
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }
        encode_number(
            encoder,
            "config_generation",
            "The configuration in force: 1 is the start's, each reload applied is the next",
            Kind::Gauge,
            self.reloads.generation(),
        )
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
                "connections_resting",
                "Client connections open that hold no buffers, because nothing was sent for a while",
                Kind::Gauge,
                self.sum(|w| Some(&w.resting)),
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
        self.encode_dropped(&mut encoder)?;
        self.encode_reloads(&mut encoder)?;
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
    use std::time::Duration;

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
        let reloads = Arc::new(Reloads::default());
        assert_eq!(reloads.applied(), 2);
        reloads.rejected();
        let reasons = &["one", "two"];
        let page = Metrics::new(workers, reasons, events, reloads, vec![reading]).render();
        for line in [
            "sidegate_requests_total{route=\"upstream\",status=\"2xx\"} 2",
            "sidegate_refusals_total{reason=\"two\"} 2",
            "sidegate_added_latency_seconds_bucket{le=\"0.0001\"} 2",
            "sidegate_added_latency_seconds_bucket{le=\"+Inf\"} 2",
            "sidegate_added_latency_seconds_count 2",
            "sidegate_events_total{act=\"login\",outcome=\"granted\"} 1",
            "sidegate_upstream_idle 6",
            "sidegate_sessions 7",
            "sidegate_config_reloads_total{result=\"applied\"} 1",
            "sidegate_config_reloads_total{result=\"rejected\"} 1",
            "sidegate_config_generation 2",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }
}
