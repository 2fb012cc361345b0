//! Everything has a bound. A client that reaches one gets an error that states it, and clients on other
//! networks are served meanwhile.
//!
//! - [`bounds`]: heads, connections, bodies, cookies, quotas.
//! - [`slow_clients`]: clients that send a request slowly.
//! - [`body_pace`]: the least rate at which a body must arrive.
//! - [`idle_connections`]: an idle connection releases its buffers.
//! - [`fairness`]: under each attack a user of another network is served.

mod body_pace;
mod bounds;
mod fairness;
mod idle_connections;
mod slow_clients;
