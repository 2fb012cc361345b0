//! Reloading: the configuration and the keys are read again. What cannot be used leaves the old in
//! force and says so; what needs a restart is named.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::app::build::{Shared, Surroundings};
use crate::config::Config;
use crate::policy::RouteTable;
use crate::tokens::keys::Keys;

/// Reads the configuration again.
pub type Reread = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// What a reload needs.
#[derive(Clone)]
pub(super) struct Reload {
    reread: Reread,
    running: Arc<Config>,
    rules: Arc<ArcSwap<RouteTable>>,
    keys: Arc<Keys>,
    surroundings: Surroundings,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}

impl Reload {
    pub(super) fn new(reread: Reread, shared: &Shared) -> Self {
        Self {
            reread,
            running: Arc::new(shared.config.clone()),
            rules: Arc::clone(&shared.rules),
            keys: Arc::clone(&shared.keys),
            surroundings: shared.surroundings.clone(),
        }
    }

    /// Reads everything again; rules and keys take effect with the next request.
    pub(super) fn run(&self) -> Result<String, String> {
        let outcome = self.apply();
        match &outcome {
            Ok(words) => tracing::info!("{words}"),
            Err(words) => tracing::error!("reload refused, the old configuration stays: {words}"),
        }
        outcome
    }

    fn apply(&self) -> Result<String, String> {
        let config = (self.reread)()?;
        let rules = RouteTable::new(config.policy.clone()).map_err(|error| error.to_string())?;
        let now = self.surroundings.clock.now();
        let warnings = self
            .keys
            .reload(now, &*self.surroundings.random)
            .map_err(|error| error.to_string())?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        self.rules.store(Arc::new(rules));
        let waiting = self.needs_restart(&config);
        Ok(if waiting.is_empty() {
            "rules and keys are reloaded".to_owned()
        } else {
            format!(
                "rules and keys are reloaded; a restart is needed for {}",
                waiting.join(", ")
            )
        })
    }

    /// The sections that changed and only take effect after a restart.
    fn needs_restart(&self, new: &Config) -> Vec<&'static str> {
        let old = &*self.running;
        let differs = |a: &dyn fmt::Debug, b: &dyn fmt::Debug| format!("{a:?}") != format!("{b:?}");
        let sections = [
            ("server", differs(&old.server, &new.server)),
            ("upstream", old.proxy != new.proxy),
            ("store", old.store != new.store),
            ("tokens", old.tokens != new.tokens),
            ("headers", old.guard != new.guard),
            ("mounts and cookies", old.api != new.api),
            ("accounts and sessions", old.service != new.service),
            ("passwords", old.crypto != new.crypto),
            ("limits", old.limits != new.limits),
        ];
        sections
            .into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(name, _)| name)
            .collect()
    }
}
