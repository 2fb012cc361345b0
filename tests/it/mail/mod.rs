//! The owner of an account gets a mail after a change of the password, in the language of the request that
//! caused the mail. A mail is sent at least once, also after `kill -9`, and a mail server that is away, slow or hostile
//! changes no answer.
//!
//! - [`sent`]: what is sent, and to whom.
//! - [`servers`]: mail servers with and without TLS and log-in.
//! - [`queue`]: mail servers that fail, restarts, and the end of the attempts.

mod queue;
mod sent;
mod servers;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use sidegate::service::SignupRequest;
use sidegate::types::login::LoginName;
use sidegate::types::role::Roles;
use sidegate::types::secret::Password;
use tokio::time::{Instant, sleep};

use crate::support::actors::Actor;
use crate::support::answer::Answer;
use crate::support::client::DEADLINE;
use crate::support::harness::{PASSWORD, TestApp};

const NEW: &str = "another horse battery";

/// Adds the account `ann` with the address `ann@example.org`, as an operator does, and logs it in.
async fn ann(app: &TestApp) -> Actor {
    let request = SignupRequest {
        username: LoginName::username("ann").expect("a username"),
        email: LoginName::email("ann@example.org").ok(),
        mobile: None,
        name: Some("Ann & Co".to_owned()),
        password: Password::new(PASSWORD.to_owned()).expect("a password"),
    };
    let roles = Roles::new(["user".parse().expect("a role")]).expect("roles");
    let added = app.service().operator_add(request, roles).await;
    added.expect("a new account");
    app.login("ann").await
}

/// Changes the password, and requires success.
async fn change(actor: &Actor) -> Answer {
    let body = json!({"current": PASSWORD, "new": NEW});
    let answer = actor.post("/auth/password", body).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    answer
}

/// Waits until a metric has this value.
async fn metric_reaches(app: &TestApp, name: &str, value: u64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let found = app.metric(name).await;
        if found == value {
            return;
        }
        assert!(Instant::now() < deadline, "{name} is {found}, not {value}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// The configuration of mail by way of this server.
fn by(address: SocketAddr) -> String {
    format!("[mail]\ntransport = \"smtp://{address}\"\n")
}
