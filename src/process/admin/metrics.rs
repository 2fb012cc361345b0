//! Which numbers does the metrics page show, and where are they read?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::api::problem::Code;
use crate::audit::Stats;
use crate::geo::Places;
use crate::process::reload::upstream_certificates::UpstreamCertificates;
use crate::process::start::shared::Shared;
use crate::service::Service;
use crate::service::upkeep::Upkeep;
use crate::store::Lifecycle as _;
use crate::telemetry::log_queue::Writer;
use crate::telemetry::logging::Log;
use crate::telemetry::metrics::{
    ClockNumbers, Kind, LostLines, Metrics, Reading, Reloads, WorkerMetrics,
};
use crate::tls::ServerTls;
use crate::types::time::Clock;

/// The parts whose numbers are shown.
pub(crate) struct Sources<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) workers: Vec<Arc<WorkerMetrics>>,
    pub(crate) upkeep: &'a Arc<Upkeep>,
    pub(crate) upstream_certificates: &'a Arc<UpstreamCertificates>,
    pub(crate) reloads: &'a Arc<Reloads>,
    pub(crate) log: &'a Log,
    /// `None` when the access log is off.
    pub(crate) access_log: Option<&'a Writer>,
}

/// The metrics page.
pub(crate) fn metrics(sources: Sources<'_>) -> Metrics {
    let shared = sources.shared;
    let readings = readings(&sources);
    let mut lost = LostLines::default().with("process", sources.log.dropped());
    if let Some(writer) = sources.access_log {
        lost = lost.with("access", writer.lost());
    }
    lost = lost.with("audit", shared.service.load().audit_log().lost());
    Metrics::new(
        sources.workers,
        Code::ALL,
        Arc::clone(&shared.events),
        Arc::clone(sources.reloads),
        readings,
    )
    .with_lost_lines(lost)
    .with_clock(clock(&shared.surroundings.clock))
}

/// The numbers that other parts store.
fn readings(sources: &Sources<'_>) -> Vec<Reading> {
    let service = sources.shared.service.load_full();
    let passwords = Arc::clone(&sources.shared.service);
    let revocations = Arc::clone(service.liveness());
    let streams = Arc::clone(service.streams());
    let (upkeep, mails) = (Arc::clone(sources.upkeep), Arc::clone(sources.upkeep));
    let tls = sources.shared.tls.as_ref();
    let mut readings = Vec::from(store(&service));
    readings.extend([
        Reading {
            name: "revocations",
            help: "Sessions whose access tokens are refused before they expire",
            kind: Kind::Gauge,
            read: Box::new(move || revocations.len() as u64),
        },
        Reading {
            name: "open_streams",
            help: "Switched connections, event streams and calls of known callers that are open",
            kind: Kind::Gauge,
            read: Box::new(move || streams.len() as u64),
        },
        Reading {
            name: "passwords_waiting",
            help: "Password checks that wait for a thread",
            kind: Kind::Gauge,
            read: Box::new(move || passwords.load().passwords().waiting() as u64),
        },
        Reading {
            name: "swept",
            help: "Expired records removed",
            kind: Kind::Counter,
            read: Box::new(move || upkeep.swept()),
        },
        Reading {
            name: "mails_waiting",
            help: "Mails that wait for their delivery",
            kind: Kind::Gauge,
            read: Box::new(move || mails.mails()),
        },
    ]);
    readings.extend(places(service.places()));
    readings.extend(audit(service.audit_log().stats()));
    readings.push(reload_failures(tls, sources.upstream_certificates));
    readings.extend(tls.map(handshake_failures));
    readings
}

/// The numbers of the store.
fn store(service: &Arc<Service>) -> [Reading; 6] {
    let of = |name, help, kind, pick: fn(crate::store::Stats) -> u64| {
        let service = Arc::clone(service);
        Reading {
            name,
            help,
            kind,
            read: Box::new(move || pick(service.store().stats())),
        }
    };
    [
        of("sessions", "Live sessions", Kind::Gauge, |s| s.sessions),
        of("users", "Accounts", Kind::Gauge, |s| s.users),
        of(
            "store_bytes",
            "Bytes of the store on disk",
            Kind::Gauge,
            |s| s.disk_bytes,
        ),
        of("store_commits", "Durable commits", Kind::Counter, |s| {
            s.commits
        }),
        of(
            "store_operations",
            "Operations in those commits",
            Kind::Counter,
            |s| s.operations,
        ),
        of(
            "store_slowest_commit_milliseconds",
            "The slowest recent commit",
            Kind::Gauge,
            |s| s.slowest_commit_millis,
        ),
    ]
}

/// The numbers of the city database.
fn places(places: &Arc<Places>) -> [Reading; 2] {
    let (loaded, failed) = (Arc::clone(places), Arc::clone(places));
    [
        Reading {
            name: "geoip_loaded",
            help: "Whether a city database is in use",
            kind: Kind::Gauge,
            read: Box::new(move || u64::from(loaded.is_loaded())),
        },
        Reading {
            name: "geoip_failures",
            help: "How often the city database became unusable",
            kind: Kind::Counter,
            read: Box::new(move || failed.failures()),
        },
    ]
}

/// The numbers of the audit log.
fn audit(stats: &Arc<Stats>) -> [Reading; 4] {
    let of = |name, help, kind, pick: fn(&Stats) -> &AtomicU64| {
        let stats = Arc::clone(stats);
        Reading {
            name,
            help,
            kind,
            read: Box::new(move || pick(&stats).load(Ordering::Relaxed)),
        }
    };
    [
        of(
            "audit_records",
            "Audit records written",
            Kind::Counter,
            |s| &s.written,
        ),
        of(
            "audit_bytes",
            "Bytes of the audit files",
            Kind::Gauge,
            |s| &s.bytes,
        ),
        of(
            "audit_gaps",
            "Gaps in the audit records, found at the start or made since",
            Kind::Gauge,
            |s| &s.gaps,
        ),
        of(
            "audit_removed_early",
            "Audit records removed because of audit.max_size before audit.keep had passed",
            Kind::Counter,
            |s| &s.removed_early,
        ),
    ]
}

/// Changed certificates and keys that could not be used, on both sides.
fn reload_failures(tls: Option<&Arc<ServerTls>>, upstream: &Arc<UpstreamCertificates>) -> Reading {
    let (tls, upstream) = (tls.cloned(), Arc::clone(upstream));
    Reading {
        name: "tls_reload_failures",
        help: "Certificates that could not be reloaded",
        kind: Kind::Counter,
        read: Box::new(move || upstream.failed() + tls.as_ref().map_or(0, |tls| tls.failed())),
    }
}

/// TLS handshakes of the public listener.
fn handshake_failures(tls: &Arc<ServerTls>) -> Reading {
    let tls = Arc::clone(tls);
    Reading {
        name: "tls_handshake_failures",
        help: "TLS handshakes that failed",
        kind: Kind::Counter,
        read: Box::new(move || tls.failed_handshakes()),
    }
}

/// The process's time, compared with the wall clock.
fn clock(clock: &Arc<dyn Clock>) -> impl Fn() -> ClockNumbers + use<> {
    let clock = Arc::clone(clock);
    move || {
        let state = clock.state();
        ClockNumbers {
            forward: state.jumps_forward,
            backward: state.jumps_backward,
            difference: state.difference,
        }
    }
}
