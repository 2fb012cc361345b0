//! How many open files (descriptors) may the process have, and how are they divided?
//!
//! The last ones are reserved for the admin port, the control socket, the store and the logs, so that
//! neither clients nor connections to the upstream can use them up. Clients may have half of the
//! others, or all but [`UPSTREAM`] if that is more. The upstream has the remainder.

use std::os::fd::{AsFd, AsRawFd as _};

use rustix::process::{Resource, getrlimit};

/// The largest number of reserved descriptors, and their share where there are few.
const RESERVE: u64 = 128;
const PART: u64 = 8;

/// Descriptors that are enough for the connections to the upstream of a large machine.
const UPSTREAM: u64 = 4096;

/// The limit of open files; `None` if there is none.
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The maximum number of client connections: `wanted`, if the limit permits it.
pub fn for_clients(limit: Option<u64>, wanted: usize) -> usize {
    let most = limit.map_or(u64::MAX, |limit| {
        let usable = usable(limit);
        (usable / 2).max(usable.saturating_sub(UPSTREAM))
    });
    wanted
        .min(usize::try_from(most).unwrap_or(usize::MAX))
        .max(1)
}

/// The maximum number of upstream connections of one worker, next to `clients` client connections.
pub fn for_upstream(limit: Option<u64>, clients: usize, workers: usize, wanted: usize) -> usize {
    let left = limit.map_or(u64::MAX, |limit| {
        let clients = for_clients(Some(limit), clients) as u64;
        usable(limit).saturating_sub(clients) / workers.max(1) as u64
    });
    wanted
        .min(usize::try_from(left).unwrap_or(usize::MAX))
        .max(1)
}

/// Whether this descriptor is one of the last ones, which neither a client nor the upstream may have. The
/// system gives out the lowest that is free: all below it are in use.
pub fn is_reserved(file: &impl AsFd) -> bool {
    let number = u64::try_from(file.as_fd().as_raw_fd()).unwrap_or_default();
    limit().is_some_and(|limit| number >= usable(limit))
}

fn usable(limit: u64) -> u64 {
    limit - RESERVE.min(limit / PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_descriptors_remain_for_any_settings() {
        for limit in [16, 64, 256, 1_024, 20_000, 1 << 20] {
            for workers in [1, 2, 64] {
                let clients = for_clients(Some(limit), 10_000);
                let upstream = for_upstream(Some(limit), 10_000, workers, 1_024);
                let all = (clients + workers * upstream) as u64;
                let few = upstream == 1;
                assert!(few || all <= usable(limit), "{limit} {workers}");
                assert!(usable(limit) < limit);
            }
        }
    }

    #[test]
    fn with_enough_descriptors_the_settings_apply() {
        for limit in [None, Some(1 << 20)] {
            assert_eq!(for_clients(limit, 10_000), 10_000);
            assert_eq!(for_upstream(limit, 10_000, 8, 1_024), 1_024);
        }
        assert_eq!(for_clients(Some(20_000), 10_000), 10_000);
        assert_eq!(for_upstream(Some(20_000), 10_000, 2, 1_024), 1_024);
        assert_eq!(for_clients(Some(256), 10_000), 112);
        assert_eq!(for_upstream(Some(256), 10_000, 2, 1_024), 56);
    }

    #[test]
    fn an_ordinary_file_is_not_reserved() {
        assert!(!is_reserved(&std::io::stdin()));
    }
}
