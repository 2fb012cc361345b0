//! Log lines that were lost, by log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

/// The counters of lines that were lost, each with its value of the label `log`.
#[derive(Debug, Clone, Default)]
pub struct LostLines(Vec<(&'static str, Arc<AtomicU64>)>);

impl LostLines {
    /// Adds a log.
    #[must_use]
    pub fn with(mut self, log: &'static str, count: Arc<AtomicU64>) -> Self {
        self.0.push((log, count));
        self
    }
}

impl Collector for LostLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "log_lines_dropped",
            "Log lines that could not be written, by log",
            None,
            MetricType::Counter,
        )?;
        for (log, count) in &self.0 {
            let count = ConstCounter::new(count.load(Ordering::Relaxed));
            count.encode(family.encode_family(&[("log", *log)])?)?;
        }
        Ok(())
    }
}
