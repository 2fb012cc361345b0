//! Guesses at a password are counted for the account on every route. They cannot lock out its owner, and
//! do not reveal whether an account exists.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate::service::accounts::Named;
use tokio::task::JoinSet;

use crate::support::actors::Actor;
use crate::support::harness::{PASSWORD, TestApp};
use crate::support::plan::ALL_PUBLIC;

const WRONG: &str = "not the password";
const OPEN: &str = "[signup]\nmode = \"open\"\n";

async fn change(actor: &Actor, current: &str) -> u16 {
    let body = json!({"current": current, "new": "a better passphrase"});
    actor.post("/auth/password", body).await.status
}

async fn sign_up_with_three_names(app: &TestApp) {
    let body = json!({
        "username": "ann",
        "email": "ann@example.org",
        "mobile": "+4915123456789",
        "password": PASSWORD,
    });
    assert_eq!(app.anon().post("/auth/signup", body).await.status, 201);
}

const NAMES: [&str; 3] = ["ann", "ann@example.org", "+4915123456789"];

#[tokio::test]
async fn an_account_has_one_failure_counter_for_all_its_names_and_routes() {
    // A bug: one account with three names allowed eighteen wrong guesses without a lock.
    let app = TestApp::with(OPEN).await;
    sign_up_with_three_names(&app).await;
    let ann = app.login("ann").await;
    for name in NAMES {
        for _ in 0..2 {
            assert_eq!(app.anon().try_login(name, WRONG).await.status, 401);
        }
    }
    assert_eq!(change(&ann, WRONG).await, 401);
    for name in NAMES {
        assert_eq!(
            app.anon().try_login(name, PASSWORD).await.status,
            401,
            "{name}"
        );
    }
    assert_eq!(change(&ann, PASSWORD).await, 401, "the act is locked, too");
    assert_eq!(
        ann.get("/orders").await.status,
        200,
        "the session continues"
    );
    let service = app.service();
    let named = Named::parse("ann@example.org").unwrap();
    let user = service.operator_find(&named).await.unwrap().unwrap();
    let until = service.operator_locked_until(&user).await.unwrap();
    assert!(until.is_some(), "`users show` prints it");
    assert_eq!(service.operator_unlock(&named).await.unwrap(), Some(true));
    assert_eq!(service.operator_locked_until(&user).await.unwrap(), None);
    assert_eq!(
        app.anon()
            .try_login("+4915123456789", PASSWORD)
            .await
            .status,
        200
    );
    assert_eq!(change(&ann, PASSWORD).await, 204);
}

#[tokio::test]
async fn eighty_wrong_current_passwords_lock_the_account_until_the_lock_expires() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for _ in 0..80 {
        assert_eq!(change(&ann, WRONG).await, 401);
    }
    let locked = ann
        .post(
            "/auth/password",
            json!({"current": PASSWORD, "new": "a better passphrase"}),
        )
        .await;
    assert_eq!(locked.refusal(), (401, "invalid_credentials".into()));
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 401);
    assert_eq!(ann.get("/orders").await.status, 200);
    app.clock.advance(Duration::from_secs(3_600));
    let mut ann = ann;
    ann.refresh().await;
    assert_eq!(change(&ann, PASSWORD).await, 204);
}

#[tokio::test]
async fn a_correct_current_password_resets_the_failure_counter() {
    let app = TestApp::start().await;
    let ann = app.user("ann").await;
    for _ in 0..6 {
        assert_eq!(change(&ann, WRONG).await, 401);
    }
    assert_eq!(change(&ann, PASSWORD).await, 204);
    assert_eq!(app.anon().try_login("ann", WRONG).await.status, 401);
    let after = app.anon().try_login("ann", "a better passphrase").await;
    assert_eq!(after.status, 200);
}

#[tokio::test]
async fn guesses_at_an_unused_name_do_not_lock_the_account_created_later() {
    let app = TestApp::with(OPEN).await;
    for name in NAMES {
        for _ in 0..7 {
            assert_eq!(app.anon().try_login(name, WRONG).await.status, 401);
        }
    }
    sign_up_with_three_names(&app).await;
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_client_without_cookies_sends_its_device_token_and_passes_a_lock_caused_by_others() {
    let mounts = "[[mount]]\nprefix = \"/auth\"\n\
                  [[mount]]\nprefix = \"/hybrid\"\ndelivery = \"hybrid\"\n\
                  [[mount]]\nprefix = \"/web\"\ndelivery = \"cookies\"\n";
    let app = TestApp::with(mounts).await;
    for name in ["ann", "bob"] {
        app.account(name, &["user"]).await;
    }
    let log_in = |actor: Actor, mount: &'static str, name: &'static str, password: &'static str| {
        let body = json!({"identifier": name, "password": password});
        async move { actor.post(&format!("{mount}/login"), body).await }
    };
    let token = |answer: &Value| answer["deviceToken"].as_str().map(str::to_owned);
    let with = |token: &str| app.anon().with_header("X-Device-Token", token);
    let web = log_in(app.anon(), "/web", "ann", PASSWORD).await.json();
    assert_eq!(token(&web), None, "a browser's device is in its cookie");
    for mount in ["/auth", "/hybrid"] {
        let first = log_in(app.anon(), mount, "ann", PASSWORD).await;
        let mine = token(&first.json()).expect("a device token");
        let again = log_in(with(&mine), mount, "ann", PASSWORD).await;
        assert_eq!(
            token(&again.json()),
            Some(mine.clone()),
            "it stays the same device"
        );
        let bobs = log_in(app.anon(), mount, "bob", PASSWORD).await.json();
        let bobs = token(&bobs).expect("a device token");
        // The device is known also after the session has ended.
        assert_eq!(app.anon().holding(&first).logout().await.status, 204);
        assert_eq!(app.anon().holding(&again).logout().await.status, 204);
        for _ in 0..7 {
            assert_eq!(log_in(app.anon(), mount, "ann", WRONG).await.status, 401);
        }
        for strange in [
            app.anon(),
            with(&bobs),
            with("00000000-0000-0000-0000-000000000000"),
            with("nonsense"),
            with(&mine).with_header("X-Device-Token", &mine),
        ] {
            assert_eq!(log_in(strange, mount, "ann", PASSWORD).await.status, 401);
        }
        assert_eq!(log_in(with(&mine), mount, "ann", WRONG).await.status, 401);
        assert_eq!(
            log_in(with(&mine), mount, "ann", PASSWORD).await.status,
            200
        );
        // The owner of the device has no more guesses than other clients.
        for _ in 0..7 {
            assert_eq!(log_in(with(&mine), mount, "ann", WRONG).await.status, 401);
        }
        assert_eq!(
            log_in(with(&mine), mount, "ann", PASSWORD).await.status,
            401
        );
        let named = Named::parse("ann").unwrap();
        let opened = app.service().operator_unlock(&named).await.unwrap();
        assert_eq!(opened, Some(true));
        assert_eq!(
            log_in(with(&mine), mount, "ann", PASSWORD).await.status,
            200
        );
    }
}

#[tokio::test]
async fn the_device_token_never_reaches_the_application() {
    let app = TestApp::with(ALL_PUBLIC).await;
    app.account("ann", &["user"]).await;
    let answer = app.anon().try_login("ann", PASSWORD).await;
    let token = answer.json()["deviceToken"].as_str().unwrap().to_owned();
    for name in ["X-Device-Token", "x_device_token", "X-DEVICE.Token"] {
        let seen = app.anon().with_header(name, &token).get("/x").await;
        assert_eq!(seen.status, 200);
        assert!(!seen.text().contains(&token), "{name}");
    }
}

#[tokio::test]
async fn unknown_names_cost_the_same_time_as_accounts() {
    // A bug: after a change of the hash cost an unknown name took 66 ms and an old account 25 ms.
    let folder = tempfile::tempdir().unwrap();
    let cheap = "[passwords]\nmemory = \"64KiB\"\n";
    let dear = "[passwords]\nmemory = \"128KiB\"\n";
    let app = TestApp::on_disk(folder.path(), cheap).await;
    for n in 0..20 {
        app.account(&format!("old{n}"), &["user"]).await;
    }
    let first = costs_of_unknown_names(&app, 20).await;
    assert_eq!(first.len(), 1, "there is one cost: {first:?}");
    app.stop().await;
    let app = TestApp::on_disk(folder.path(), dear).await;
    for n in 0..10 {
        app.account(&format!("new{n}"), &["user"]).await;
    }
    let mut total = [0, 0];
    for name in ["old1", "new1"] {
        let before = app.service().passwords().compared();
        app.anon().try_login(name, WRONG).await;
        let after = app.service().passwords().compared();
        let used = after
            .iter()
            .find(|(cost, count)| before.get(cost) != Some(count));
        let is_new = used.unwrap().0.as_str().contains("m=128,");
        assert_eq!(is_new, name == "new1", "{used:?}");
    }
    let costs = costs_of_unknown_names(&app, 300).await;
    for (cost, count) in &costs {
        total[usize::from(cost.contains("m=128,"))] += count;
    }
    let [old, new] = total;
    assert_eq!(old + new, 300);
    // 200 and 100 on average. The probability of a value this far off is below 10^-9.
    assert!((145..=250).contains(&old), "{old} and {new}");
    // Log-ins move accounts to the new cost, and unknown names follow.
    for n in 0..20 {
        let answer = app.anon().try_login(&format!("old{n}"), PASSWORD).await;
        assert_eq!(answer.status, 200);
    }
    let costs = costs_of_unknown_names(&app, 50).await;
    assert_eq!(costs.len(), 1, "{costs:?}");
    assert!(costs[0].0.contains("m=128,"), "{costs:?}");
}

/// The hash costs for this many names without an account, each compared twice with the same result.
async fn costs_of_unknown_names(app: &TestApp, names: u64) -> Vec<(String, u64)> {
    let service = app.service();
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let before = service.passwords().compared();
        for n in 0..names {
            app.anon().try_login(&format!("nobody{n}"), WRONG).await;
        }
        let mut used = Vec::new();
        for (cost, count) in service.passwords().compared() {
            let new = count - before.get(&cost).copied().unwrap_or_default();
            if new > 0 {
                used.push((cost.as_str().to_owned(), new));
            }
        }
        rounds.push(used);
    }
    assert_eq!(rounds[0], rounds[1], "a name always costs the same");
    rounds.swap_remove(0)
}

#[tokio::test]
async fn an_account_with_a_damaged_hash_answers_like_any_other() {
    let app = TestApp::start().await;
    app.account("ann", &["user"]).await;
    let refused = app.anon().try_login("nobody", PASSWORD).await;
    // No code path writes such a hash, so the record is changed in the store.
    damage_hash(&app, "ann").await;
    let damaged = app.anon().try_login("ann", PASSWORD).await;
    assert_eq!(damaged.status, 401);
    assert_eq!(damaged.masked(), refused.masked());
}

async fn damage_hash(app: &TestApp, name: &str) {
    use sidegate::model::user::{PasswordHash, User};
    use sidegate::store::{AccountStore as _, Effect};
    let service = app.service();
    let named = Named::parse(name).unwrap();
    let user = service.operator_find(&named).await.unwrap().unwrap();
    let damaged = User {
        password: PasswordHash::new("$argon2id$v=19$m=64,t=1,p=1$!$!"),
        ..user
    };
    let updated = service.store().update_user(damaged, Effect::None).await;
    updated.expect("an update");
}

#[tokio::test]
async fn correct_passwords_of_many_users_behind_one_address_use_no_quota() {
    // A bug: of 260 users behind one address the last sixty got 429.
    let app = TestApp::with("[limits]\nlogin = \"20/h\"\n").await;
    for n in 0..260 {
        app.account(&format!("user{n}"), &["user"]).await;
    }
    for n in 0..260 {
        let answer = app.anon().try_login(&format!("user{n}"), PASSWORD).await;
        assert_eq!(answer.status, 200, "user{n}");
    }
    let mut people = JoinSet::new();
    for n in 0..260 {
        let client = app.anon();
        people.spawn(async move { client.try_login(&format!("user{n}"), PASSWORD).await.status });
    }
    for status in people.join_all().await {
        assert_eq!(status, 200);
    }
    for _ in 0..30 {
        assert_eq!(app.anon().try_login("user0", PASSWORD).await.status, 200);
    }
    let mut wrong = Vec::new();
    for _ in 0..21 {
        wrong.push(app.anon().try_login("nobody", WRONG).await.status);
    }
    assert_eq!(wrong[..20], [401; 20]);
    assert_eq!(wrong[20], 429);
}

#[tokio::test]
async fn a_log_in_that_could_not_be_checked_uses_no_quota() {
    let (app, faults) = TestApp::with_faults("[limits]\nlogin = \"3/h\"\nsignup = \"3/h\"\n").await;
    let ann = app.user("ann").await;
    faults.fail_reads(true);
    for _ in 0..10 {
        assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 503);
        assert_eq!(change(&ann, PASSWORD).await, 503);
    }
    faults.fail_reads(false);
    assert_eq!(app.anon().try_login("ann", PASSWORD).await.status, 200);
    let weak = json!({"current": PASSWORD, "new": "short"});
    for _ in 0..10 {
        let answer = ann.post("/auth/password", weak.clone()).await;
        assert_eq!(answer.refusal(), (400, "weak_password".into()));
    }
    assert_eq!(change(&ann, PASSWORD).await, 204);
}

#[tokio::test]
async fn sign_ups_that_created_no_account_and_read_no_name_use_no_quota() {
    let app = TestApp::with(&format!("{OPEN}[limits]\nsignup = \"3/h\"\n")).await;
    let sign_up = async |name: &str, password: &str| {
        let body = json!({"username": name, "password": password});
        app.anon().post("/auth/signup", body).await.status
    };
    for _ in 0..10 {
        assert_eq!(sign_up("ann", "short").await, 400);
        assert_eq!(sign_up("admin", PASSWORD).await, 400);
    }
    assert_eq!(sign_up("ann", PASSWORD).await, 201);
    assert_eq!(sign_up("ann", PASSWORD).await, 409);
    assert_eq!(sign_up("bob", PASSWORD).await, 201);
    assert_eq!(sign_up("carl", PASSWORD).await, 429);
}
