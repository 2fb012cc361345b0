//! The list of sessions shows country and city from a city database. A database that is absent or damaged
//! never stops a start or a request: places are then unknown.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;
use sidegate::geo::{Place, Places, settings::Settings};

use crate::support::city_database::{Network, city_database};
use crate::support::harness::{PASSWORD, TestApp};

const TRUSTED: &str = "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";

const NETWORKS: &[Network] = &[
    Network {
        address: "203.0.113.0",
        prefix: 24,
        country: "DE",
        city: "Köln",
    },
    Network {
        address: "2001:db8:7::",
        prefix: 48,
        country: "FR",
        city: "Lyon",
    },
];

/// The small database that is also used where no test of this file can write one.
const FILE: &[u8] = include_bytes!("../../../src/geo/testdata/city.mmdb");

fn configured(app: &TestApp) -> (String, PathBuf) {
    let file = app.home().join("city.mmdb");
    let text = format!("{TRUSTED}[geoip]\ndatabase = \"{}\"\n", file.display());
    (text, file)
}

/// Country and city of the session that a log-in from this address makes.
async fn place(app: &TestApp, address: &str) -> (Value, Value) {
    let actor = app.anon().with_header("X-Forwarded-For", address);
    let ann = actor.login("ann", PASSWORD).await;
    let list = ann.get("/auth/sessions").await.json();
    let session = &list["sessions"][0];
    (session["ipCountry"].clone(), session["ipCity"].clone())
}

fn unknown() -> (Value, Value) {
    (Value::Null, Value::Null)
}

#[test]
fn the_small_database_is_what_its_writer_writes() {
    assert_eq!(FILE, city_database(NETWORKS));
}

#[tokio::test]
async fn the_list_of_sessions_shows_country_and_city() {
    let app = TestApp::with(TRUSTED).await;
    app.account("ann", &["user"]).await;
    assert_eq!(place(&app, "203.0.113.9").await, unknown());
    let (text, file) = configured(&app);
    fs::write(&file, FILE).unwrap();
    app.rewrite(&text);
    app.running().reload().expect("a valid configuration");
    assert_eq!(
        place(&app, "203.0.113.9").await,
        ("DE".into(), "Köln".into())
    );
    assert_eq!(
        place(&app, "2001:db8:7::1").await,
        ("FR".into(), "Lyon".into())
    );
    assert_eq!(place(&app, "198.51.100.1").await, unknown());
    assert_eq!(app.metric("sidegate_geoip_loaded").await, 1);
    app.rewrite(TRUSTED);
    app.running().reload().expect("a valid configuration");
    assert_eq!(place(&app, "203.0.113.9").await, unknown());
}

#[tokio::test]
async fn an_absent_or_damaged_database_leaves_places_unknown_and_is_counted_once() {
    let app = TestApp::with(TRUSTED).await;
    app.account("ann", &["user"]).await;
    let (text, file) = configured(&app);
    app.rewrite(&text);
    app.running().reload().expect("a file that may come later");
    assert_eq!(place(&app, "203.0.113.9").await, unknown());
    let places = app.service().places().clone();
    for content in [&b"not a database"[..], &FILE[..FILE.len() / 2], b""] {
        fs::write(&file, content).unwrap();
        places.check();
        assert_eq!(place(&app, "203.0.113.9").await, unknown());
    }
    assert_eq!(app.metric("sidegate_geoip_failures_total").await, 1);
    assert_eq!(app.metric("sidegate_geoip_loaded").await, 0);
    fs::write(&file, FILE).unwrap();
    places.check();
    assert_eq!(
        place(&app, "203.0.113.9").await,
        ("DE".into(), "Köln".into())
    );
    fs::remove_file(&file).unwrap();
    places.check();
    let kept = place(&app, "203.0.113.9").await;
    assert_eq!(kept, ("DE".into(), "Köln".into()), "the last good version");
    assert_eq!(app.metric("sidegate_geoip_failures_total").await, 2);
}

#[test]
fn a_file_that_is_exchanged_is_read_again() {
    let home = tempfile::tempdir().unwrap();
    let database = Some(home.path().join("city.mmdb"));
    let places = Places::default();
    let settings = Settings { database };
    let file = settings.database.as_ref().unwrap();
    fs::write(file, FILE).unwrap();
    places.set(&settings);
    let find = || places.find("203.0.113.9".parse().unwrap()).city;
    assert_eq!(find().as_deref(), Some("Köln"));
    let next = city_database(&[Network {
        city: "Bonn",
        ..NETWORKS[0]
    }]);
    let aside = home.path().join("next");
    fs::write(&aside, next).unwrap();
    fs::rename(aside, file).unwrap();
    places.check();
    assert_eq!(find().as_deref(), Some("Bonn"));
}

proptest! {
    /// Damage in a file gives another place or none, and never ends the process.
    #[test]
    fn no_damage_of_the_file_causes_a_panic(
        changes in prop::collection::vec((0..FILE.len(), any::<u8>()), 1..8),
        address in any::<u32>(),
    ) {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("city.mmdb");
        let mut bytes = FILE.to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        fs::write(&file, bytes).unwrap();
        let places = Places::default();
        places.set(&Settings { database: Some(file) });
        for address in [address.into(), 0xcb00_7109.into()] {
            let Place { country, city } = places.find(std::net::IpAddr::V4(address));
            prop_assert!(country.is_none_or(|code| code.len() == 2));
            prop_assert!(city.is_none_or(|name| name.len() <= 128));
        }
    }
}
