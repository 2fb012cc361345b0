//! The numbers on the metrics page that other parts keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::app::watch::Outward;
use crate::audit::Stats;
use crate::service::Current;
use crate::service::upkeep::Upkeep;
use crate::store::Lifecycle as _;
use crate::telemetry::metrics::{Kind, Reading};
use crate::tls::Door;

/// The numbers that others keep.
pub(super) fn readings(
    current: &Arc<Current>,
    upkeep: &Arc<Upkeep>,
    door: Option<&Arc<Door>>,
    outward: &Arc<Outward>,
) -> Vec<Reading> {
    let service = current.load_full();
    let of_store = |name, help, kind, pick: fn(crate::store::Stats) -> u64| {
        let service = Arc::clone(&service);
        Reading {
            name,
            help,
            kind,
            read: Box::new(move || pick(service.store().stats())),
        }
    };
    let revocations = Arc::clone(service.liveness());
    let streams = Arc::clone(service.streams());
    let passwords = Arc::clone(current);
    let upkeep = Arc::clone(upkeep);
    let mut readings = vec![
        of_store("sessions", "Live sessions", Kind::Gauge, |stats| {
            stats.sessions
        }),
        of_store("users", "Accounts", Kind::Gauge, |stats| stats.users),
        of_store(
            "store_bytes",
            "Bytes of the store on disk",
            Kind::Gauge,
            |s| s.disk_bytes,
        ),
        of_store("store_commits", "Durable commits", Kind::Counter, |stats| {
            stats.commits
        }),
        of_store(
            "store_operations",
            "Operations in those commits",
            Kind::Counter,
            |s| s.operations,
        ),
        of_store(
            "store_slowest_commit_milliseconds",
            "The slowest recent commit",
            Kind::Gauge,
            |stats| stats.slowest_commit_millis,
        ),
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
    ];
    readings.extend(audit(service.audit_log().stats()));
    readings.push(unusable(door, outward));
    readings.extend(door.map(turned_away));
    readings
}

/// The audit log.
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
            "Places where audit records are missing, seen at the start or made since",
            Kind::Gauge,
            |s| &s.gaps,
        ),
        of(
            "audit_removed_early",
            "Audit records that audit.max_size removed before audit.keep",
            Kind::Counter,
            |s| &s.removed_early,
        ),
    ]
}

/// Certificates and keys that changed and could not be used, on either side.
fn unusable(door: Option<&Arc<Door>>, outward: &Arc<Outward>) -> Reading {
    let (door, outward) = (door.cloned(), Arc::clone(outward));
    Reading {
        name: "tls_reload_failures",
        help: "Certificates that could not be reloaded",
        kind: Kind::Counter,
        read: Box::new(move || outward.failed() + door.as_ref().map_or(0, |door| door.failed())),
    }
}

/// Handshakes on the public listener.
fn turned_away(door: &Arc<Door>) -> Reading {
    let door = Arc::clone(door);
    Reading {
        name: "tls_handshake_failures",
        help: "Handshakes that came to nothing",
        kind: Kind::Counter,
        read: Box::new(move || door.turned_away()),
    }
}
