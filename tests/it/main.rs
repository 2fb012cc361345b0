//! The integration tests: the product on real sockets, with real files, in front of a real application. There
//! is one folder for each promise; the first lines of its `mod.rs` state the promise and list its parts. Begin
//! with [`story`]. The helpers are in [`support`]:
//!
//! ```ignore
//! let app = TestApp::start().await;
//! let ann = app.user("ann").await;
//! assert_eq!(ann.get("/orders/7").await.status, 200);
//! app.clock.advance(Duration::from_secs(3600));
//! ```

#![cfg(test)]

// One session, from sign-up to log-out.
mod story;

// Accounts and sessions.
mod browsers;
mod login;
mod logout;
mod mail;
mod refresh;
mod tokens;

// A request and its answer.
mod api;
mod gateway;
mod headers;
mod http2;
mod paths;
mod streams;
mod tls;
mod transparency;

// Attacks, bounds and failures.
mod faults;
mod hostile;
mod limits;
mod simulation;

// Operation.
mod life;
mod operator;
mod records;

mod support;
