//! How are the workers started, and which parts of each does the process keep?

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;

use crate::gateway::access_log::AccessLog;
use crate::gateway::context::RequestIds;
use crate::gateway::pipeline::Pipeline;
use crate::net::connection_limiter::ConnectionLimiter;
use crate::net::lifecycle::Lifecycle;
use crate::net::listener::Bound;
use crate::net::served::ConnectionSetup;
use crate::net::worker::Worker;
use crate::process::start::error::StartError;
use crate::process::start::pipelines::{Common, Lasting};
use crate::process::start::shared::Shared;
use crate::telemetry::log_queue::LogQueue;
use crate::telemetry::metrics::WorkerMetrics;
use crate::types::descriptors;

/// The current pipeline of a worker. A reload stores the next one.
pub(crate) type ExchangeablePipeline = ArcSwap<Pipeline>;

/// The parts of the workers that the process uses. All lists have the same order.
pub(crate) struct Workers {
    /// The connection limiter of all workers.
    pub(crate) limiter: Arc<ConnectionLimiter>,
    pub(crate) threads: Vec<JoinHandle<io::Result<()>>>,
    /// The pipeline of each worker, which is dropped with its worker.
    pub(crate) pipelines: Vec<Weak<ExchangeablePipeline>>,
    pub(crate) metrics: Vec<Arc<WorkerMetrics>>,
    /// How often each has ticked.
    pub(crate) ticks: Vec<Arc<AtomicU64>>,
}

impl Workers {
    /// Starts one worker per socket. They answer requests as soon as this returns.
    pub(crate) fn start(
        shared: &Shared,
        public: Bound,
        lifecycle: &Lifecycle,
        queue: Option<&LogQueue>,
    ) -> Result<Self, StartError> {
        let config = &shared.config;
        let service = shared.service.load_full();
        let common = Common::new(
            config,
            Arc::clone(&service),
            &shared.keys,
            Arc::clone(&shared.rules),
            &shared.surroundings.random,
        );
        let mut workers = Self {
            limiter: Arc::new(ConnectionLimiter::new(
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
                log: Arc::new(AccessLog::new(queue.cloned(), config.server.json_logs)),
                ids: Arc::new(RequestIds::new(&*shared.surroundings.random)),
                clock: Arc::clone(&shared.surroundings.clock),
                activity: shared.activity.clone(),
                streams: service.streams().registry(),
                random: Arc::clone(&shared.surroundings.random),
                lifecycle: lifecycle.clone(),
            };
            let pipeline = Arc::new(ExchangeablePipeline::from_pointee(common.first(lasting)?));
            let worker = Worker::new(
                Arc::clone(&pipeline),
                Arc::clone(&workers.limiter),
                lifecycle.clone(),
                ConnectionSetup::new(config.server.proxy_protocol, shared.tls.clone()),
                Arc::clone(&metrics),
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
