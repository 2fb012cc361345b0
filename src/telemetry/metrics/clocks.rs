//! How do time and the wall clock differ? As metrics.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The relation of time and the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockNumbers {
    /// How often the wall clock was set forward.
    pub forward: u64,
    /// How often it was set back.
    pub backward: u64,
    /// The wall clock minus time, in milliseconds.
    pub difference: i64,
}

/// Reads them when the page is requested.
pub(super) struct Clocks(pub(super) Box<dyn Fn() -> ClockNumbers + Send + Sync>);

impl fmt::Debug for Clocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clocks").finish_non_exhaustive()
    }
}

impl Collector for Clocks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let numbers = (self.0)();
        let mut family = encoder.encode_descriptor(
            "clock_jumps",
            "How often the wall clock was set by more than two seconds, by direction",
            None,
            MetricType::Counter,
        )?;
        for (direction, count) in [("forward", numbers.forward), ("backward", numbers.backward)] {
            let labels = [("direction", direction)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        let family = encoder.encode_descriptor(
            "clock_offset_seconds",
            "The wall clock minus the time of this process",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(seconds(numbers.difference)).encode(family)
    }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1e3
}
