//! The one integration binary: the product on real sockets, with real files, against an upstream of
//! its own. Each file is about one behaviour; `harness` is what they all stand on.
//!
//! ```ignore
//! let app = TestApp::start().await;
//! let ann = app.user("ann").await;
//! assert_eq!(ann.get("/orders/7").await.status, 200);
//! app.clock.advance(Duration::from_secs(3600));
//! ```

mod actors;
mod client;
mod cookies;
mod harness;
mod intake;
mod login;
mod refresh;
mod renewal;
mod routes;
mod sessions;
mod simulation;
mod smuggling;
mod spoofing;
mod upstream;
mod walk;
