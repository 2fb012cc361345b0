//! The use cases, without HTTP: sign up, log in, refresh, list and end sessions, change a password,
//! and what an operator does. Each is one file; each ends in one atomic step of the store.
//!
//! Every path that leads to "logged in" goes through [`grant`]: there is no other place that makes
//! a session. Ending one is a step of the store, which tells [`liveness`] itself: the revocation is
//! durable before it is applied here, and applied here before the caller hears of it.

pub mod accounts;
pub mod activity;
pub mod audit;
mod backup;
pub mod caller;
mod devices;
pub mod error;
pub mod first_sight;
mod grant;
pub mod liveness;
mod login;
mod logout;
pub mod password;
mod refresh;
mod renewal;
mod sessions;
pub mod settings;
mod signup;
pub mod streams;
pub mod upkeep;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::limits::Limits;
use crate::store::Embedded;
use crate::telemetry::metrics::Events;
use crate::tokens::issue::Issuer;
use crate::tokens::keys::Keys;
use crate::types::ids::DeviceId;
use crate::types::random::Random;
use crate::types::time::{Clock, Timestamp};

use self::audit::Audit;
use self::first_sight::FirstSights;
use self::liveness::Liveness;
use self::password::PasswordPool;
use self::streams::Streams;

pub use self::caller::Caller;
pub use self::error::AuthError;
pub use self::grant::Grant;
pub use self::login::LoginRequest;
pub use self::logout::IncludeCurrent;
pub use self::renewal::Renewals;
pub use self::settings::{Settings, SignupMode};
pub use self::signup::SignupRequest;
pub use crate::store::{EndAll, SnapshotPage, SnapshotStart};

/// The service in force. A reload puts another one there, built on the same store; what has begun
/// with the one before ends with it.
pub type Current = ArcSwap<Service>;

/// The parts a service is built from; `app` puts them together. Those that outlive a reload are
/// shared.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What is remembered.
    pub store: Arc<Embedded>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Fresh randomness.
    pub random: Arc<dyn Random>,
    /// Password hashing, bounded.
    pub passwords: Arc<PasswordPool>,
    /// The secret under which names without an account choose the cost of their comparison; empty
    /// until it was asked for.
    pub decoy_key: Arc<OnceLock<[u8; 32]>>,
    /// Access tokens.
    pub issuer: Arc<Issuer>,
    /// Signing and refresh keys.
    pub keys: Arc<Keys>,
    /// Who is no longer admitted.
    pub liveness: Arc<Liveness>,
    /// Tokens that are compared with the store.
    pub first_sights: Arc<FirstSights>,
    /// Renewals that parallel requests share.
    pub renewals: Arc<Renewals>,
    /// Open streams.
    pub streams: Arc<Streams>,
    /// How often.
    pub limits: Arc<Limits>,
    /// Who did what.
    pub audit: Arc<Audit>,
    /// What was counted.
    pub events: Arc<Events>,
    /// What the configuration says.
    pub settings: Settings,
}

/// Sidegate's use cases. Shared by all workers and the operator's socket.
#[derive(Debug)]
pub struct Service {
    parts: Parts,
}

impl Service {
    /// A service of these parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// The parts, for the service that follows.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The time, as the service sees it.
    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// What is remembered; for upkeep, health and numbers.
    pub fn store(&self) -> &Arc<Embedded> {
        &self.parts.store
    }

    /// Who is no longer admitted.
    pub fn liveness(&self) -> &Arc<Liveness> {
        &self.parts.liveness
    }

    /// Tokens that are compared with the store.
    pub fn first_sights(&self) -> &Arc<FirstSights> {
        &self.parts.first_sights
    }

    /// The password pool, for its numbers.
    pub fn passwords(&self) -> &PasswordPool {
        &self.parts.passwords
    }

    /// A fresh device id, for a client that shows none.
    pub fn fresh_device(&self) -> DeviceId {
        DeviceId::generate(self.now(), &*self.parts.random)
    }
}
