//! Which settings result from the defaults and from `[server]`, `[cookies]`, `[headers]` and `[[mount]]`?

use std::path::PathBuf;
use std::time::Duration;

use super::{UPSTREAM, good, load_with, mistakes, no_files};
use crate::api::settings::Delivery;
use crate::config::explain::Explanation;
use crate::net::settings::Listen;
use crate::policy::settings::Access;
use crate::service::settings::SignupMode;
use crate::store::settings::Engine;
use crate::tokens::settings::Algorithm;

#[test]
fn the_defaults_with_an_upstream_are_a_complete_configuration() {
    let config = good("");
    assert_eq!(
        config.server.listen,
        Listen::Tcp("127.0.0.1:8080".parse().unwrap())
    );
    assert_eq!(config.server.admin, Some("127.0.0.1:9180".parse().unwrap()));
    assert_eq!(
        config.server.control,
        Some(PathBuf::from("./data/control.sock"))
    );
    assert_eq!(config.server.threads, 3, "zero is one per core");
    assert_eq!(
        config.store.engine,
        Engine::Sled {
            path: "./data".into(),
            cache: 32 << 20
        }
    );
    assert_eq!(config.store.revocation_life, Duration::from_secs(905));
    assert_eq!(config.tokens.algorithm, Algorithm::EdDSA);
    assert_eq!(config.policy.default, Access::User);
    assert_eq!(config.service.signup, SignupMode::Closed);
    assert_eq!(config.crypto.memory_kib, 19 << 10);
    let [mount] = config.api.mounts.as_slice() else {
        panic!("exactly one mount by default");
    };
    assert_eq!(
        (mount.prefix.as_str(), mount.delivery),
        ("/auth", Delivery::Json)
    );
    assert_eq!(config.api.cookies.access, "sidegate_access");
    assert!(!config.api.cookies.secure);
    assert_eq!(config.limits.lists.count.get(), 120);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(config.dangers.is_empty());
}

#[test]
fn a_listener_that_could_not_work_is_refused() {
    for (text, words) in [
        (
            "proxy_protocol = true",
            "no proxy is trusted to send the header",
        ),
        (
            "redirect_listen = \"0.0.0.0:80\"",
            "there is no https to send clients to",
        ),
        (
            "redirect_listen = \"80\"\npublic_url = \"https://a\"",
            "is no address",
        ),
        (
            "redirect_listen = \"127.0.0.1:8080\"\npublic_url = \"https://a\"",
            "is the same address as server.listen",
        ),
    ] {
        let message = mistakes(&format!("[server]\n{text}"));
        assert!(message.contains(words), "{text}\n{message}");
    }
    let redirect =
        |url: &str| format!("[server]\nredirect_listen = \"0.0.0.0:80\"\npublic_url = \"{url}\"");
    let malformed = mistakes(&redirect("https://a/b"));
    assert_eq!(malformed.lines().count(), 1, "{malformed}");
    assert!(
        good(&redirect("HTTPS://a"))
            .server
            .redirect_listen
            .is_some()
    );
}

#[test]
fn the_control_socket_is_in_a_directory_only_the_operator_can_write() {
    let at = |text: &str| good(text).server.control;
    assert_eq!(
        at("[store]\nurl = \"sled:/var/lib/sidegate\""),
        Some("/var/lib/sidegate/control.sock".into())
    );
    assert_eq!(
        at("[store]\nurl = \"memory:\""),
        Some("./data/control.sock".into())
    );
    assert_eq!(
        at("[store]\nurl = \"memory:\"\n[tokens]\nkeys_dir = \"keys\""),
        Some("control.sock".into())
    );
    assert_eq!(
        at("[server]\ncontrol = \"/run/s.sock\""),
        Some("/run/s.sock".into())
    );
    assert_eq!(at("[server]\ncontrol = \"\""), None);
    let long = format!("[store]\nurl = \"sled:/{}\"", "d".repeat(107));
    assert!(
        mistakes(&long).contains("server.control"),
        "{}",
        mistakes(&long)
    );
}

#[test]
fn cookies_follow_the_public_url() {
    let secure = good("[server]\npublic_url = \"https://App.example.org:443\"");
    assert_eq!(
        secure.api.public_origin.as_ref().map(ToString::to_string),
        Some("https://app.example.org".to_owned())
    );
    assert_eq!(secure.api.cookies.refresh, "__Host-sidegate_refresh");
    assert_eq!(secure.guard.access_cookie, "__Host-sidegate_access");
    assert_eq!(
        secure.proxy.cookies,
        [
            "__Host-sidegate_access",
            "sidegate_access",
            "__Host-sidegate_refresh",
            "sidegate_refresh",
            "__Host-sidegate_device",
            "sidegate_device"
        ]
    );
    let shared = good(
        "[server]\npublic_url = \"https://app.example.org\"\n[cookies]\ndomain = \".Example.org\"",
    );
    assert_eq!(shared.api.cookies.access, "sidegate_access");
    assert_eq!(shared.api.cookies.domain.as_deref(), Some("example.org"));
    assert!(
        good("[cookies]\nsecure = true").api.cookies.secure,
        "a bare true"
    );
    assert!(
        !good("[server]\npublic_url = \"http://app.example.org\"")
            .api
            .cookies
            .secure
    );
}

#[test]
fn a_check_renews_cookies_only_where_tokens_travel_in_them() {
    let mount = "[[mount]]\nverify_renews = true\n";
    for delivery in ["", "delivery = \"json\"\n", "delivery = \"hybrid\"\n"] {
        let message = mistakes(&format!("{mount}{delivery}"));
        assert!(message.contains("mount[1].verify_renews"), "{message}");
    }
    let config = good(&format!("{mount}delivery = \"cookies\"\n"));
    assert!(config.api.mounts.iter().all(|mount| mount.verify_renews));
    assert!(!good("").api.mounts[0].verify_renews);
}

#[test]
fn custom_headers_map_known_claims_to_free_names() {
    let text = |custom: &str| format!("[headers]\npreset = \"custom\"\n[headers.custom]\n{custom}");
    assert!(
        load_with(
            Some(&format!("{}\n{UPSTREAM}", text("sub = \"X-Id\""))),
            &[],
            &no_files
        )
        .is_ok()
    );
    let wrong = "sub = \"X-Id\"\nusername = \"x_id\"\nrole = \"Host\"\nmail = \"X-Mail\"\nemail = \"X Mail\"\nsid = 3";
    insta::assert_snapshot!(mistakes(&text(wrong)));
    insta::assert_snapshot!(mistakes(&text("")));
}

#[test]
fn the_audience_of_assertions_is_the_origin_of_the_upstream() {
    assert_eq!(good("").guard.assertion, None);
    let on = "[headers]\nassertion = true\n";
    for (url, audience) in [
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("https://App.internal", "https://app.internal"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
    ] {
        let config = load_with(
            Some(&format!("{on}[upstream]\nurl = \"{url}\"\n")),
            &[],
            &no_files,
        );
        let config = config.unwrap();
        assert_eq!(config.guard.assertion.as_deref(), Some(audience));
        let explained = Explanation::of(&config).to_string();
        assert!(
            explained.contains(&format!("X-Sidegate-Assertion, signed for {audience}")),
            "{explained}"
        );
    }
    let explained = Explanation::of(&good("")).to_string();
    assert!(!explained.contains("X-Sidegate-Assertion"));
}

#[test]
fn assertions_that_nobody_could_verify_are_refused() {
    let secret = "u7Yp2Qx9Lk4Vb8Nz1Rt6Wc3Hd5Jf0GmS";
    let hs256 = format!("[tokens]\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n");
    good(&hs256);
    let message = mistakes(&format!("{hs256}[headers]\nassertion = true\n"));
    assert!(
        message.contains("headers.assertion: the application cannot verify assertions"),
        "{message}"
    );
    assert!(message.contains("EdDSA"), "{message}");
    for algorithm in ["EdDSA", "ES256", "RS256"] {
        good(&format!(
            "[tokens]\nalgorithm = \"{algorithm}\"\n[headers]\nassertion = true\n"
        ));
    }
}
