//! A start, a reload, a restart and a stop lose no request that could be answered. What cannot start or
//! be reloaded fails with a message and changes nothing.
//!
//! - [`health`]: health, readiness and metrics on the admin port.
//! - [`stop`], [`signals`]: a stop, in the process and by signals from outside.
//! - [`drain`]: what happens to each kind of open request and stream when the process stops.
//! - [`reload`], [`reload_under_load`]: a reload changes everything or nothing, while requests are served.
//! - [`restart`]: sockets handed to the next process, the store lock, systemd.
//! - [`process`]: the commands of the real program about a reload, and a second process.
//! - [`listening`]: file descriptors that run out, Unix sockets left behind.

mod drain;
mod health;
mod listening;
mod process;
mod reload;
mod reload_under_load;
mod restart;
mod signals;
mod stop;
