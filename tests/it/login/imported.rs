//! An imported hash lets its owner log in once and is then replaced. It makes no difference that a client could
//! see.

use sidegate::model::user::User;
use sidegate::service::accounts::Named;
use sidegate::service::import::{ForeignAccount, ImportRefusal, Imported};
use sidegate::types::login::{LoginKind, LoginName};
use sidegate::types::role::Roles;
use sidegate::types::secret::SecretText;

use crate::support::harness::TestApp;

/// The password of all hashes below.
const KETTLE: &str = "blue kettle on fire";

/// Hashes of htpasswd (Apache 2.4.71), Django 5.2.19 and passlib 1.7.4.
const HASHES: &[(&str, &str)] = &[
    ("apr1", "$apr1$0PYHfMaN$RZFO/F6Nre5/HRiUAPjIS/"),
    (
        "bcrypt",
        "$2y$05$KO3odOG9uhyVo2bN5pIlxO/XrU4yWIG.9F8JzgEvZ5p7MVda16Sxe",
    ),
    ("sha", "{SHA}Vil3I8rG9S4dozMU1QNnIqCTPr0="),
    (
        "pbkdf2-sha256",
        "pbkdf2_sha256$1000$saltSALT12345678$LLfY1Aamz+TXN1pcge71FMY+L8PTDhLiwI6UmH3+0iI=",
    ),
    (
        "pbkdf2-sha1",
        "pbkdf2_sha1$1000$saltSALT12345678$WhUMH+jJmblMxxzzYUP4Qv7zGiw=",
    ),
    (
        "scrypt-django",
        "scrypt$1024$saltSALT12345678$8$5$Os1oPRNyYdicAtEPYMOdb+1qt4RSVjm+/pGd/NKhi7AfdXf1DDIWezIhKzSr4dW49O2HFU+S/Ztxvx01neeyag==",
    ),
    (
        "scrypt-phc",
        "$scrypt$ln=8,r=8,p=2$PmfMeQ/BeO+dk3IuJaRU6g$4l/JA+GGZb0ppET3U4syA/kpUcouUM0tl4OjYTj+Ay8",
    ),
    (
        "argon2i",
        "$argon2i$v=19$m=64,t=2,p=1$AQAAwNhb6x1DyFkLofT+Pw$g+WsaFlqhKpZAH0UgaPVm3vrvjGxDB19kiXqZ0yX/WU",
    ),
    (
        "argon2id",
        "$argon2id$v=19$m=64,t=2,p=1$8X6vtfYeI0RIyRnjHINQig$6q/AHe+mADn4ZQtbgOBOg0KEnbLx+FKwy9hP+VIvMqM",
    ),
];

fn account(name: &str, hash: &str) -> ForeignAccount {
    ForeignAccount {
        username: Some(LoginName::username(name).expect("a username")),
        email: None,
        mobile: None,
        name: None,
        roles: Roles::default(),
        password_hash: SecretText::new(hash),
    }
}

async fn import(app: &TestApp, accounts: Vec<ForeignAccount>) -> Vec<Imported> {
    let outcomes = app.service().operator_import(accounts, false).await;
    outcomes.expect("outcomes")
}

async fn stored(app: &TestApp, name: &str) -> User {
    let named: Named = name.parse().expect("a name");
    let found = app.service().operator_find(&named).await;
    found.expect("a store").expect("an account")
}

#[tokio::test]
async fn the_first_log_in_replaces_a_hash_of_each_kind() {
    let app = TestApp::start().await;
    let accounts = HASHES.iter().map(|(name, hash)| account(name, hash));
    let outcomes = import(&app, accounts.collect()).await;
    assert_eq!(outcomes, vec![Imported::Added; HASHES.len()]);
    app.account("native", &["user"]).await;
    let ours = stored(&app, "native").await.password.cost();
    for (name, _) in HASHES {
        let imported = stored(&app, name).await;
        let refused = app.anon().try_login(name, "blue kettle on ice").await;
        assert_eq!(refused.status, 401, "{name}");
        let after_a_refusal = stored(&app, name).await;
        assert_eq!(after_a_refusal, imported, "{name}: nothing was changed");

        let granted = app.anon().try_login(name, KETTLE).await;
        assert_eq!(granted.status, 200, "{name}: {}", granted.text());
        let after = stored(&app, name).await;
        assert_ne!(imported.password.cost(), ours, "{name}");
        assert_eq!(after.password.cost(), ours, "{name}");

        let again = app.anon().try_login(name, KETTLE).await;
        assert_eq!(again.status, 200, "{name}");
        assert_eq!(stored(&app, name).await, after, "{name}: replaced once");
        let refused = app.anon().try_login(name, "blue kettle on ice").await;
        assert_eq!(refused.status, 401, "{name}");
    }
}

#[tokio::test]
async fn an_unknown_name_costs_what_imported_accounts_cost() {
    let app = TestApp::start().await;
    let hash = HASHES[1].1;
    let names: Vec<String> = (0..9).map(|n| format!("u{n}")).collect();
    import(&app, names.iter().map(|name| account(name, hash)).collect()).await;
    let compared = || {
        let service = app.service();
        let all = service.passwords().compared();
        let is_bcrypt = |cost: &str| cost == "$bcrypt$c=5";
        all.iter()
            .filter(|(cost, _)| is_bcrypt(cost.as_str()))
            .map(|(_, count)| *count)
            .sum::<u64>()
    };
    for n in 0..20 {
        let answer = app.anon().try_login(&format!("nobody{n}"), KETTLE).await;
        assert_eq!(answer.status, 401);
    }
    assert_eq!(compared(), 20, "every unknown name costs a bcrypt hash");
    // Log-ins replace all hashes, and unknown names follow.
    for name in &names {
        assert_eq!(app.anon().try_login(name, KETTLE).await.status, 200);
    }
    let before = compared();
    for n in 0..20 {
        app.anon().try_login(&format!("nobody{n}"), KETTLE).await;
    }
    assert_eq!(compared(), before);
}

#[tokio::test]
async fn an_existing_account_is_never_changed() {
    let app = TestApp::start().await;
    app.account("ann", &["admin"]).await;
    let ann = stored(&app, "ann").await;
    let mail = || Some(LoginName::email("bob@example.org").expect("an address"));
    let bob = ForeignAccount {
        email: mail(),
        ..account("bob", HASHES[2].1)
    };
    let thief = ForeignAccount {
        email: mail(),
        ..account("thief", HASHES[2].1)
    };
    let unnamed = ForeignAccount {
        username: None,
        ..bob.clone()
    };
    let all = vec![account("ann", HASHES[2].1), bob];
    let outcomes = import(&app, all.clone()).await;
    assert_eq!(outcomes, [Imported::Exists, Imported::Added]);
    assert_eq!(stored(&app, "ann").await, ann);
    assert_eq!(
        import(&app, all).await,
        [Imported::Exists; 2],
        "a repetition"
    );
    let taken = Imported::Refused(ImportRefusal::Taken(LoginKind::Email));
    assert_eq!(
        import(&app, vec![thief, unnamed]).await,
        [taken, Imported::Exists]
    );
    let bob = stored(&app, "bob").await;
    assert!(bob.verified_email().is_some(), "an operator entered it");
}

#[tokio::test]
async fn hashes_with_too_many_different_parameters_are_refused() {
    let app = TestApp::start().await;
    let hash = |n: usize| {
        let tail = "saltSALT12345678$LLfY1Aamz+TXN1pcge71FMY+L8PTDhLiwI6UmH3+0iI=";
        format!("pbkdf2_sha256${}${tail}", 1_000 + n)
    };
    let accounts = |from: usize| (from..from + 20).map(|n| account(&format!("u{n}"), &hash(n)));
    let first = import(&app, accounts(0).collect()).await;
    assert_eq!(first, vec![Imported::Added; 20]);
    let second = import(&app, accounts(20).collect()).await;
    let variety = Imported::Refused(ImportRefusal::HashVariety);
    assert_eq!(second.iter().filter(|o| **o == Imported::Added).count(), 4);
    assert_eq!(second.iter().filter(|o| **o == variety).count(), 16);
    // A known set has room, and so have our own hashes.
    assert_eq!(
        import(&app, vec![account("x", &hash(3))]).await,
        [Imported::Added]
    );
    app.account("ann", &["user"]).await;
    app.login("ann").await;
}
