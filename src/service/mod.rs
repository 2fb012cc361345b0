//! Which use cases does Sidegate have? Sign up, log in, refresh, list and end sessions, change a
//! password, and the commands of the operator. Without HTTP.
//!
//! Each use case is one file and ends in one atomic step of the store. Sessions are created in [`grant`]
//! only. A session ends in a step of the store, whose feed delivers the revocation: it is durable before
//! [`enforcement`] applies it, and applied before the caller is answered.

pub mod accounts;
pub mod activity;
pub mod audit;
mod backup;
pub mod caller;
mod devices;
mod enforcement;
pub mod error;
pub mod first_sight;
mod grant;
pub mod import;
pub mod liveness;
mod login;
mod logout;
pub mod mail;
mod operator_sessions;
pub mod password;
mod password_change;
mod refresh;
mod renewal;
mod sessions;
pub mod settings;
mod signup;
pub mod streams;
pub mod upkeep;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::geo::Places;
use crate::limits::Limits;
use crate::store::AnyStore;
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

/// The service in force. A reload replaces it with another on the same store. Requests that have begun
/// with the previous service end with it.
pub type Current = ArcSwap<Service>;

/// The parts of a service, which `process` creates. Those that outlive a reload are shared.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The store.
    pub store: Arc<AnyStore>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
    /// Password hashing, with bounds.
    pub passwords: Arc<PasswordPool>,
    /// The secret under which logins without an account are assigned the cost of their comparison. Empty
    /// until it was read.
    pub decoy_key: Arc<OnceLock<[u8; 32]>>,
    /// Issues access tokens.
    pub issuer: Arc<Issuer>,
    /// Signing and refresh keys.
    pub keys: Arc<Keys>,
    /// The revocations in force.
    pub liveness: Arc<Liveness>,
    /// The check of new access tokens against the store.
    pub first_sights: Arc<FirstSights>,
    /// Renewals that parallel requests share.
    pub renewals: Arc<Renewals>,
    /// Open streams.
    pub streams: Arc<Streams>,
    /// Rate limits.
    pub limits: Arc<Limits>,
    /// Audit records.
    pub audit: Arc<Audit>,
    /// The places of addresses.
    pub places: Arc<Places>,
    /// Counted events.
    pub events: Arc<Events>,
    /// The settings.
    pub settings: Settings,
}

/// The use cases. Shared by all workers and the control socket.
#[derive(Debug)]
pub struct Service {
    parts: Parts,
}

impl Service {
    /// A service of these parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// The parts, for the next service.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// The store, for upkeep, health and metrics.
    pub fn store(&self) -> &Arc<AnyStore> {
        &self.parts.store
    }

    /// The places of addresses.
    pub fn places(&self) -> &Arc<Places> {
        &self.parts.places
    }

    /// The revocations in force.
    pub fn liveness(&self) -> &Arc<Liveness> {
        &self.parts.liveness
    }

    /// The check of new access tokens against the store.
    pub fn first_sights(&self) -> &Arc<FirstSights> {
        &self.parts.first_sights
    }

    /// The password pool, for its numbers.
    pub fn passwords(&self) -> &PasswordPool {
        &self.parts.passwords
    }

    /// A new device id, for a client without one.
    pub fn fresh_device(&self) -> DeviceId {
        DeviceId::generate(self.now(), &*self.parts.random)
    }
}
