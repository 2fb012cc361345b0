//! Warnings for the operator that are logged once, not with every request.

use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by all workers of one configuration.
#[derive(Debug, Default)]
pub struct Notice {
    copies: AtomicBool,
}

impl Notice {
    /// A browser sent several copies of one of our cookies.
    pub fn several_copies(&self, cookie: &str) {
        if !self.copies.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                cookie,
                "a browser sent several cookies of one name: cookies.domain was changed, or another \
                 host of the same domain sets cookies of this name; the one that verifies counts, and \
                 the next log-in or log-out removes those that it can reach (logged once)"
            );
        }
    }
}
