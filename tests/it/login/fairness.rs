//! Log-ins of one network against all others: under an attack, a valid user from another network does
//! not fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::client::TestRequest;
use crate::support::harness::{PASSWORD, TestApp};

/// Log-ins through a trusted proxy, from this address.
fn log_in_from(address: &str, name: &str, password: &str) -> TestRequest {
    let body = json!({"identifier": name, "password": password});
    TestRequest::new("POST", "/auth/login")
        .json(&body)
        .with("X-Forwarded-For", address)
}

const BEHIND_A_PROXY: &str = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n";

#[tokio::test]
async fn a_flood_of_log_ins_from_one_network_does_not_delay_other_users() {
    // One hash at a time, so that all clients wait in the queue.
    let costly = "[passwords]\nmemory = \"4MiB\"\nmax_concurrent = 1\n";
    let app = TestApp::with(&format!("{BEHIND_A_PROXY}{costly}")).await;
    app.account("ann", &["user"]).await;
    let over = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU32::new(0));
    let mut flood = JoinSet::new();
    for attacker in 0..150_u32 {
        let (over, sent, to) = (Arc::clone(&over), Arc::clone(&sent), app.address);
        flood.spawn(async move {
            let mut round = 0_u32;
            while !over.load(Ordering::Relaxed) {
                let from = format!("2001:db8:1:{:x}::1", attacker + 256 * (round % 200));
                let name = format!("made-up-{attacker}-{round}");
                log_in_from(&from, &name, "wrong").send(to).await;
                sent.fetch_add(1, Ordering::Relaxed);
                round += 1;
            }
        });
    }
    crate::support::wait::until(|| (app.service().passwords().waiting() > 50).then_some(())).await;
    let mut failures = 0;
    for _ in 0..20 {
        let valid = log_in_from("192.0.2.1", "ann", PASSWORD);
        failures += u32::from(valid.send(app.address).await.status != 200);
    }
    assert!(
        app.service().passwords().waiting() > 50,
        "the flood continues"
    );
    over.store(true, Ordering::Relaxed);
    flood.join_all().await;
    assert_eq!(
        failures,
        0,
        "beside {} others",
        sent.load(Ordering::Relaxed)
    );
}

#[tokio::test]
async fn log_ins_with_invented_names_do_not_delay_other_users() {
    let app = TestApp::with(&format!("{BEHIND_A_PROXY}[limits]\nlogin = \"20/h\"\n")).await;
    for n in 0..30 {
        app.account(&format!("user{n}"), &["user"]).await;
    }
    let mut attack = JoinSet::new();
    for part in 0..4_u32 {
        let to = app.address;
        attack.spawn(async move {
            for n in 0..500_u32 {
                let from = format!("2001:db8:{part:x}:{n:x}::1");
                log_in_from(&from, &format!("made-up-{part}-{n}"), "wrong")
                    .send(to)
                    .await;
            }
        });
    }
    let mut failures = 0;
    for n in 0..30 {
        let valid = log_in_from("192.0.2.1", &format!("user{n}"), PASSWORD);
        failures += u32::from(valid.send(app.address).await.status != 200);
    }
    attack.join_all().await;
    assert_eq!(failures, 0);
}
