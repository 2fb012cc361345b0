//! Which connections of a worker are open, and what time is it for them?

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::net::connection::state::ConnectionState;
use crate::net::connection_limiter::ConnectionPermit;
use crate::net::lifecycle::{Lifecycle, Phase};
use crate::telemetry::metrics::{Dropped, WorkerMetrics};

/// The open connections of one worker, and the coarse clock that their deadlines are measured by.
#[derive(Debug)]
pub(crate) struct Connections {
    open: Mutex<HashMap<u64, Arc<ConnectionState>>>,
    /// Counts the open connections, for [`Connections::closed`].
    tracker: TaskTracker,
    next: AtomicU64,
    /// Milliseconds since the worker began, moved by its tick.
    tick: AtomicU64,
    lifecycle: Lifecycle,
    metrics: Arc<WorkerMetrics>,
}

impl Connections {
    pub(crate) fn new(lifecycle: Lifecycle, metrics: Arc<WorkerMetrics>) -> Self {
        Self {
            open: Mutex::default(),
            tracker: TaskTracker::new(),
            next: AtomicU64::new(0),
            tick: AtomicU64::new(1),
            lifecycle,
            metrics,
        }
    }

    pub(crate) fn register(self: &Arc<Self>, permit: ConnectionPermit) -> Registered {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(ConnectionState::new(self.tick()));
        if self.is_finishing() {
            state.finish(self.tick());
        }
        self.open().insert(id, Arc::clone(&state));
        self.metrics.connected();
        Registered {
            connections: Arc::clone(self),
            state,
            id,
            permit,
            _token: self.tracker.token(),
        }
    }

    /// The worker's coarse clock, in milliseconds.
    pub(crate) fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    pub(crate) fn set_tick(&self, tick: u64) {
        self.tick.store(tick, Ordering::Relaxed);
    }

    /// Whether connections must close after their current response.
    pub(crate) fn is_finishing(&self) -> bool {
        self.lifecycle.phase() >= Phase::Draining
    }

    pub(crate) fn each(&self, visit: impl Fn(&ConnectionState)) {
        for state in self.open().values() {
            visit(state);
        }
    }

    /// Waits until no connection is open. No more are accepted from here on.
    pub(crate) async fn closed(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    pub(crate) fn metrics(&self) -> &WorkerMetrics {
        &self.metrics
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<ConnectionState>>> {
        self.open.lock()
    }
}

/// The registration of one open connection, removed on drop.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) connections: Arc<Connections>,
    pub(crate) state: Arc<ConnectionState>,
    id: u64,
    permit: ConnectionPermit,
    _token: TaskTrackerToken,
}

impl Registered {
    pub(crate) fn tick(&self) -> u64 {
        self.connections.tick()
    }

    /// Counts the connection for the client that a PROXY header names. Returns false, and counts the drop,
    /// when that client has too many.
    pub(crate) fn count_for(&mut self, client: IpAddr) -> bool {
        let is_admitted = self.permit.count(client);
        if !is_admitted {
            self.dropped(Dropped::AddressFull);
        }
        is_admitted
    }

    /// Counts the reason why the connection is not served.
    pub(crate) fn dropped(&self, reason: Dropped) {
        self.connections.metrics.dropped(reason);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.metrics.disconnected();
        self.connections.open().remove(&self.id);
    }
}

/// Counts a panic that ends the task that holds it.
#[derive(Debug)]
pub(crate) struct PanicCounter(Arc<Connections>);

impl PanicCounter {
    pub(crate) fn new(connections: &Arc<Connections>) -> Self {
        Self(Arc::clone(connections))
    }
}

impl Drop for PanicCounter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.metrics.panicked();
        }
    }
}
