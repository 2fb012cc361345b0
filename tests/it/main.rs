//! The one integration binary: the product on real sockets, with real files, against an upstream of
//! its own. Each file is about one behaviour; `harness` is what they all stand on.
//!
//! ```ignore
//! let app = TestApp::start().await;
//! let ann = app.user("ann").await;
//! assert_eq!(ann.get("/orders/7").await.status, 200);
//! app.clock.advance(Duration::from_secs(3600));
//! ```

#![cfg(test)]

mod actors;
mod attacks;
mod audit;
mod backup;
mod bodies;
mod body_pace;
mod browser;
mod bulk;
mod caching;
mod claimed;
mod client;
mod clock;
mod commands;
mod cookies;
mod copies;
mod csrf;
mod drain;
mod dropped;
mod exchange;
mod faults;
mod first_sight;
mod forge;
mod forward_auth;
mod guessing;
mod h2;
mod handshakes;
mod harness;
mod http2;
mod idle;
mod intake;
mod leaks;
mod life;
mod limits;
mod listening;
mod live;
mod live_h2;
mod login;
mod login_fairness;
mod logs;
mod mutated;
mod operator;
mod policy;
mod pressing;
mod private;
mod process;
mod program;
mod proxy_protocol;
mod refresh;
mod reload;
mod reload_tls;
mod renewal;
mod restart;
mod resting;
mod routes;
mod scripted;
mod served;
mod sessions;
mod signup;
mod simulation;
mod site;
mod slow;
mod smuggling;
mod sockets;
mod spoofing;
mod streaming;
mod tls;
mod tokens;
mod transparency;
mod upstream;
mod upstream_h2;
mod upstream_tls;
mod walk;
mod websocket;
