//! Has the city database changed? Compared at intervals.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::geo::Places;

/// How often the file is compared.
const EVERY: Duration = Duration::from_secs(10);

/// Compares until dropped.
pub(crate) async fn watch_city_database(places: Arc<Places>) {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let places = Arc::clone(&places);
        // On another thread, because the file may be large and a disk slow.
        drop(spawn_blocking(move || places.check()).await);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::geo::settings::Settings;

    #[tokio::test(start_paused = true)]
    async fn a_file_that_appears_later_is_read() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("city.mmdb");
        let places = Arc::new(Places::default());
        places.set(&Settings {
            database: Some(file.clone()),
        });
        assert!(!places.is_loaded());
        fs::write(&file, include_bytes!("../../geo/testdata/city.mmdb")).unwrap();
        // The time of this test passes only while nothing else can be done.
        let watch = watch_city_database(Arc::clone(&places));
        assert!(tokio::time::timeout(EVERY * 2, watch).await.is_err());
        assert!(places.is_loaded());
    }
}
