//! Starts the workers, and keeps what the rest of the process needs of each.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use crate::app::build::Shared;
use crate::app::error::StartError;
use crate::app::pipelines::{Common, Lasting};
use crate::server::access_log::AccessLog;
use crate::server::context::RequestIds;
use crate::server::doorman::Doorman;
use crate::server::lifecycle::Lifecycle;
use crate::server::listener::Bound;
use crate::server::outbox::Outbox;
use crate::server::worker::{Entrance, Exchangeable, Worker};
use crate::telemetry::metrics::WorkerMetrics;
use crate::types::descriptors;

/// The workers, seen from outside. All lists are in one order.
pub(super) struct Workers {
    /// Who lets connections in, for all of them.
    pub(super) doorman: Arc<Doorman>,
    pub(super) threads: Vec<JoinHandle<io::Result<()>>>,
    /// What each answers with; it goes with its worker.
    pub(super) pipelines: Vec<Weak<Exchangeable>>,
    pub(super) metrics: Vec<Arc<WorkerMetrics>>,
    /// How often each has ticked.
    pub(super) ticks: Vec<Arc<AtomicU64>>,
}

impl Workers {
    /// Starts one worker a socket. They answer requests as soon as this returns.
    pub(super) fn start(
        shared: &Shared,
        public: Bound,
        lifecycle: &Lifecycle,
        outbox: Option<&Outbox>,
    ) -> Result<Self, StartError> {
        let config = &shared.config;
        let service = shared.service.load_full();
        let common = Common::new(
            config,
            Arc::clone(&service),
            &shared.keys,
            service.liveness(),
            Arc::clone(&shared.rules),
            &*shared.surroundings.random,
        );
        let mut workers = Self {
            doorman: Arc::new(Doorman::new(
                descriptors::for_clients(descriptors::limit(), config.server.max_connections),
                config.server.max_connections_per_address,
            )),
            threads: Vec::new(),
            pipelines: Vec::new(),
            metrics: Vec::new(),
            ticks: Vec::new(),
        };
        let leaves_queue = public.is_inherited();
        for (index, socket) in public.into_sockets().into_iter().enumerate() {
            let metrics = Arc::new(WorkerMetrics::default());
            let ticks = Arc::new(AtomicU64::new(0));
            let lasting = Lasting {
                metrics: Arc::clone(&metrics),
                log: Arc::new(AccessLog::new(outbox.cloned(), config.server.json_logs)),
                ids: Arc::new(RequestIds::new(&*shared.surroundings.random)),
                clock: Arc::clone(&shared.surroundings.clock),
                activity: shared.activity.clone(),
                streams: service.streams().desk(),
                random: Arc::clone(&shared.surroundings.random),
                lifecycle: lifecycle.clone(),
            };
            let pipeline = Arc::new(Exchangeable::from_pointee(common.first(lasting)?));
            let worker = Worker::new(
                Arc::clone(&pipeline),
                Arc::clone(&workers.doorman),
                lifecycle.clone(),
                Entrance::new(config.server.proxy_protocol, shared.door.clone()),
                Arc::clone(&ticks),
            )
            .leaving_the_queue(leaves_queue);
            let thread = worker.start(index, socket).map_err(StartError::System)?;
            workers.threads.push(thread);
            workers.pipelines.push(Arc::downgrade(&pipeline));
            workers.metrics.push(metrics);
            workers.ticks.push(ticks);
        }
        Ok(workers)
    }
}
