//! How does a reload read the configuration again, and when does it take effect?
//!
//! All of it takes effect, or nothing. [`parts`] builds everything that can fail before it exchanges anything:
//! a file that cannot be read or parsed, an unknown preset, or unusable keys leave the configuration in force
//! unchanged, and the reload returns the error. A request keeps the pipeline, and with it the service, that it
//! began with; the next request on any worker uses the new one. Changes that need a restart are held back and
//! named ([`restart`]).

pub(crate) mod parts;
pub(crate) mod restart;
pub(crate) mod upstream_certificates;
pub(crate) mod watch;

use std::fmt;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::config::Config;
use crate::process::reload::parts::ReloadParts;
use crate::process::service_manager;

/// Reads the configuration again.
pub type Reread = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// Reloads on demand; cheap to clone.
#[derive(Clone)]
pub(crate) struct Reload(Arc<Inner>);

struct Inner {
    reread: Reread,
    parts: ReloadParts,
    /// Held during a reload and during a check of the certificates: one at a time.
    lock: Mutex<()>,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}

impl Reload {
    pub(crate) fn new(reread: Reread, parts: ReloadParts) -> Self {
        Self(Arc::new(Inner {
            reread,
            parts,
            lock: Mutex::new(()),
        }))
    }

    /// Reads everything again; it takes effect with the next request. Blocks while files are read. Returns
    /// the outcome as text for an operator.
    pub(crate) fn run(&self) -> Result<String, String> {
        let _lock = self.lock();
        let Inner { reread, parts, .. } = &*self.0;
        service_manager::reloading();
        match reread().and_then(|config| parts.prepare(config)) {
            Ok(prepared) => {
                let outcome = parts.apply(prepared);
                let generation = parts.counts.applied();
                tracing::info!(generation, "{outcome}");
                service_manager::ready("serving");
                Ok(outcome)
            }
            Err(error) => {
                parts.counts.rejected();
                tracing::error!("reload refused, the old configuration stays: {error}");
                service_manager::ready("serving; a reload was refused, see the log");
                Err(error)
            }
        }
    }

    /// Reads the files of certificates and keys that have changed. Blocks while files are read.
    pub(crate) fn check_certificates(&self) {
        let _lock = self.lock();
        self.0.parts.check_certificates();
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.lock.lock()
    }
}
