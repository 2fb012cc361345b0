//! How do environment variables override the file?

use super::{load_with, mistakes_with, no_files};
use crate::net::settings::Listen;
use crate::proxy::settings::Address;

#[test]
fn the_environment_overrides_the_file_in_any_case() {
    let env = [
        ("SIDEGATE__SERVER__LISTEN", "0.0.0.0:80"),
        ("SIDEGATE__Server__Threads", " 7 "),
        ("sidegate__tokens__audience", "a, b,"),
        ("SIDEGATE__SERVER__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
        ("SIDEGATE__UPSTREAM__PRESERVE_HOST", "false"),
        ("SIDEGATE__UPSTREAM__URL", "unix:/run/app.sock"),
        ("SIDEGATE__COOKIES__SECURE", "true"),
        ("SIDEGATE__HEADERS__PRESET", "custom"),
        ("SIDEGATE__HEADERS__CUSTOM__SUB", "X-Who"),
        ("SIDEGATE__RULE", "[{ path = \"/x\", access = \"public\" }]"),
        ("SIDEGATE_SERVICE_HOST", "not ours"),
        ("PATH", "/bin"),
    ];
    let file = "[server]\nlisten = 1\nthreads = 2\n[[rule]]\nwrong = true";
    let config = load_with(Some(file), &env, &no_files).unwrap();
    assert_eq!(
        config.server.listen,
        Listen::Tcp("0.0.0.0:80".parse().unwrap())
    );
    assert_eq!(config.server.threads, 7);
    assert_eq!(config.tokens.audience, ["a", "b"]);
    assert_eq!(config.trusted_networks.len(), 1);
    assert!(!config.proxy.preserve_host);
    assert_eq!(config.proxy.upstream, Address::Unix("/run/app.sock".into()));
    assert!(config.api.cookies.secure);
    assert_eq!(config.policy.rules.len(), 1);
}

#[test]
fn a_variable_that_fits_no_key_is_refused() {
    let env = [
        ("SIDEGATE__SERVER__LISEN", "x"),
        ("SIDEGATE__SERVR__LISTEN", "x"),
        ("SIDEGATE__SERVER", "{}"),
        ("SIDEGATE__SERVER__LISTEN__PORT", "1"),
        ("SIDEGATE__SERVER__TLS__CERTT", "1"),
        ("SIDEGATE__SERVER__THREADS", "many"),
        ("SIDEGATE__UPSTREAM__PRESERVE_HOST", "yes"),
        ("SIDEGATE__RULE", "/x"),
        ("SIDEGATE__TOKENS__AUDIENCE", "[1"),
        ("SIDEGATE__SERVER__HOSTS", " "),
        ("SIDEGATE__", "x"),
        ("SIDEGATE__TOKENS__LEEWAY", "1h"),
        ("sidegate__tokens__leeway", "1s"),
    ];
    insta::assert_snapshot!("environment", mistakes_with("", &env));
}

#[test]
fn an_invalid_value_from_the_environment_is_reported_with_its_variable() {
    let env = [
        ("SIDEGATE__RULE", "[{ path = \"x\", access = \"public\" }]"),
        ("SIDEGATE__SERVER__TRUSTED_PROXIES", "10.0.0.0/8,0.0.0.0/0"),
    ];
    insta::assert_snapshot!(mistakes_with("[[rule]]\npath = \"/y\"", &env));
}
