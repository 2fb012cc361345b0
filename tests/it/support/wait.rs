//! How does a test wait for something without sleeping for a fixed time?

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::client::DEADLINE;

/// Waits for a condition, up to the deadline.
pub(crate) async fn until<T>(condition: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "the condition never held");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the files of a closed store are released. A child process started by another test holds a
/// copy of every open file until it executes its program.
pub(crate) async fn released(store: &Path) {
    let is_free = |name: &&str| match File::open(store.join(name)) {
        // Unlocked before it is closed: by now a child may hold a copy of this one as well.
        Ok(file) => file.try_lock().is_ok() && file.unlock().is_ok(),
        Err(_) => true,
    };
    until(|| ["lock", "db"].iter().all(is_free).then_some(())).await;
}
