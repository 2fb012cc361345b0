//! How are the upstream and the TLS of both sides configured?

use super::{UPSTREAM, good, load_with, mistakes, no_files};
use crate::config::explain::Explanation;
use crate::proxy::settings::{Address, Tls};

#[test]
fn every_kind_of_upstream_url_parses() {
    let upstream = |text: &str| {
        let text = format!("[upstream]\n{text}");
        load_with(Some(&text), &[], &no_files)
            .map(|config| (config.proxy.upstream.to_string(), config.proxy.upstream))
            .map_err(|problems| problems.to_string())
    };
    for (url, shown) in [
        ("http://app", "http://app:80"),
        ("https://app", "https://app:443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("h2c://app", "h2c://app:80"),
        ("h2c://10.0.0.1:50051", "h2c://10.0.0.1:50051"),
        ("unix:/run/a", "unix:/run/a"),
    ] {
        assert_eq!(upstream(&format!("url = \"{url}\"")).unwrap().0, shown);
    }
    let text = "url = \"https://app\"\n[upstream.tls]\nca = \"ca.pem\"\ncert = \"a.crt\"\n\
                key = \"a.key\"\nserver_name = \"other\"";
    let expected = Tls {
        ca: Some("ca.pem".into()),
        identity: Some(("a.crt".into(), "a.key".into())),
        server_name: Some("other".to_owned()),
    };
    let Address::Tls { tls, .. } = upstream(text).unwrap().1 else {
        panic!("no TLS");
    };
    assert_eq!(tls, expected);
    for (text, message) in [
        (
            "url = \"http://app\"\n[upstream.tls]\nca = \"ca.pem\"",
            "config.toml:4:1: upstream.tls.ca: is for an upstream.url that begins with https://",
        ),
        (
            "url = \"https://app\"\n[upstream.tls]\ncert = \"a.crt\"",
            "config.toml:4:1: upstream.tls.cert: needs upstream.tls.key beside it",
        ),
        (
            "url = \"https://app\"\n[upstream.tls]\nkey = \"a.key\"",
            "config.toml:4:1: upstream.tls.key: needs upstream.tls.cert beside it",
        ),
        (
            "url = \"https://app\"\n[upstream.tls]\nserver_name = \"a b\"",
            "config.toml:4:1: upstream.tls.server_name: is no host name and no address",
        ),
    ] {
        assert_eq!(upstream(text).unwrap_err(), message);
    }
}

#[test]
fn unsupported_upgrade_protocols_are_refused() {
    for name in ["h2c", "H2C", "HTTP/2.0", "TLS/1.0", "", "web socket"] {
        let text = format!("{UPSTREAM}upgrades = [\"chat\", {name:?}]");
        let message = load_with(Some(&text), &[], &no_files)
            .expect_err(name)
            .to_string();
        assert!(
            message.contains("upstream.upgrades[2]: "),
            "{name:?}: {message}"
        );
    }
}

#[test]
fn tls_settings_are_complete_or_absent() {
    let first_mistake = |text: &str| mistakes(text).lines().next().unwrap_or_default().to_owned();
    for (text, words) in [
        ("cert = \"a\"", "server.tls.key: is not set"),
        ("key = \"a\"", "server.tls.cert: is not set"),
        (
            "client_auth = \"required\"",
            "server.tls.client_ca: is not set",
        ),
        ("client_ca = \"a\"", "server.tls.client_ca: has no effect"),
        ("client_auth = \"maybe\"", "server.tls.client_auth: "),
        (
            "client_auth = \"optional\"\nclient_ca = \"a\"",
            "server.tls: has no effect without a certificate",
        ),
        (
            "cert = \"a\"\nkey = \"b\"\nclient_subject_header = \"X-Subject\"",
            "server.tls.client_subject_header: has no effect",
        ),
        (
            "cert = \"a\"\nkey = \"b\"\nclient_auth = \"required\"\nclient_ca = \"c\"\n\
             client_subject_header = \"Host\"",
            "server.tls.client_subject_header: host has its own meaning",
        ),
        (
            "cert = \"a\"\nkey = \"b\"\n[[server.tls.certificate]]\ncert = \"c\"",
            "server.tls.certificate[1].key: is not set",
        ),
    ] {
        let message = first_mistake(&format!("[server.tls]\n{text}"));
        assert!(message.contains(words), "{text}\n{message}");
    }
    let config = good(
        "[server.tls]\ncert = \"a\"\nkey = \"b\"\nclient_auth = \"optional\"\nclient_ca = \"c\"\n\
         client_subject_header = \"X-Client-Subject\"\n[[server.tls.certificate]]\ncert = \"d\"\n\
         key = \"e\"",
    );
    let tls = config.server.tls.unwrap();
    let files: Vec<_> = tls.files().map(|file| file.display().to_string()).collect();
    assert_eq!(files, ["a", "b", "d", "e", "c"]);
    assert!(config.api.cookies.secure, "the listener is https");
    let words = Explanation::of(&good(
        "[server]\nredirect_listen = \"0.0.0.0:80\"\n[server.tls]\ncert = \"a\"\nkey = \"b\"\n\
         client_auth = \"optional\"\nclient_ca = \"c\"",
    ));
    let message = words.to_string();
    assert!(
        message.contains("https://127.0.0.1:8080") && message.contains("clients may have one"),
        "{message}"
    );
    assert!(message.contains("0.0.0.0:80 redirects there"), "{message}");
}
