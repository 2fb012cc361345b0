//! What do all connections and exchanges of one worker share about the upstream?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::proxy::connect::Connector;
use crate::proxy::request_head::HeadWriter;
use crate::proxy::settings::Settings;
use crate::proxy::stats::Counters;
use crate::proxy::timeouts::Timeouts;
use crate::tls::client::BadClient;

/// How the upstream is connected to, written to and waited for.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) connector: Connector,
    pub(super) head: HeadWriter,
    pub(super) timeouts: Timeouts,
    pub(super) counters: Arc<Counters>,
    /// See [`Upstream::chose_http1`].
    http1: AtomicBool,
}

impl Upstream {
    /// Reads the files that TLS needs.
    ///
    /// # Errors
    ///
    /// When one of them cannot be used.
    pub(super) fn new(
        settings: &Settings,
        idle: Duration,
        counters: Arc<Counters>,
    ) -> Result<Self, BadClient> {
        Ok(Self {
            connector: Connector::new(settings.upstream.clone(), settings.connect_timeout)?,
            head: HeadWriter::new(settings),
            timeouts: Timeouts::new(settings, idle),
            counters,
            http1: AtomicBool::new(false),
        })
    }

    /// Whether the upstream chose HTTP/1.1 in the last handshake that offered both versions.
    pub(super) fn chose_http1(&self) -> bool {
        self.http1.load(Ordering::Relaxed)
    }

    /// Remembers the upstream's choice. After `false` the next connection offers both versions.
    pub(super) fn set_chose_http1(&self, http1: bool) {
        self.http1.store(http1, Ordering::Relaxed);
    }
}
