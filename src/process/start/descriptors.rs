//! How many files can this process open? As many as the system permits: many systems start a process with a
//! soft limit of 1,024 and a higher hard limit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::types::descriptors;

/// Raises the soft limit of open files to the hard one, and warns when even that is too few for this
/// many client connections.
pub(crate) fn raise(max_connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let asked = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let allowed = match setrlimit(Resource::Nofile, asked) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let admitted = descriptors::for_clients(allowed, max_connections);
    if admitted < max_connections {
        tracing::warn!(
            allowed,
            admitted,
            "fewer files may be open than server.max_connections needs: raise the limit of open files, or \
             lower server.max_connections"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_the_system_maximum() {
        raise(1);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
