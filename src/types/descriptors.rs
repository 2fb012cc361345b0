//! Open files (descriptors): as many as the system lets this process have, and who may use them.
//!
//! The last ones are reserved for the admin port, the control socket, the store and the logs, so that
//! neither clients nor their connections to the upstream can use them up. Of the others clients may have
//! half, or all but [`UPSTREAM`] where that is more; the upstream has what they leave.

use std::os::fd::{AsFd, AsRawFd as _};

use rustix::process::{Resource, getrlimit};

/// The most that is reserved, and its part of all where there are few.
const RESERVE: u64 = 128;
const PART: u64 = 8;

/// Descriptors that are enough for the connections to the upstream of a large machine.
const UPSTREAM: u64 = 4096;

/// How many open files there may be; none when there is no limit.
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// How many connections of clients there may be at most, whatever the settings allow.
pub fn for_clients(limit: Option<u64>, wanted: usize) -> usize {
    let most = limit.map_or(u64::MAX, |limit| {
        let usable = usable(limit);
        (usable / 2).max(usable.saturating_sub(UPSTREAM))
    });
    wanted
        .min(usize::try_from(most).unwrap_or(usize::MAX))
        .max(1)
}

/// How many connections to the upstream each of so many workers may have, beside so many of clients.
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
    fn what_is_reserved_is_left_whatever_the_settings_ask_for() {
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
    fn where_there_are_enough_the_settings_hold() {
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
