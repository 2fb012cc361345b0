//! Wrong configurations and the exact words for each; the environment; secrets; `config.toml`.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use toml::{Table, Value};

use crate::api::settings::Delivery;
use crate::config::explain::Explanation;
use crate::config::problem::Problems;
use crate::config::raw::Raw;
use crate::config::{Config, Sources};
use crate::policy::settings::Access;
use crate::proxy::settings::{Address, Tls};
use crate::server::settings::Listen;
use crate::service::settings::SignupMode;
use crate::store::settings::Engine;
use crate::tokens::settings::Algorithm;

const UPSTREAM: &str = "[upstream]\nurl = \"http://127.0.0.1:3000\"\n";
const SECRET: &str = "k8Zq0vR3nW5xY7uB1cE4fH6jL9mP2sT-dGaQ";

fn load_with(
    text: Option<&str>,
    env: &[(&str, &str)],
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Config, Problems> {
    crate::config::load(&Sources {
        file: text.map(|t| (PathBuf::from("config.toml"), t.to_owned())),
        env: env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        read,
        cores: NonZeroUsize::new(3).unwrap(),
    })
}

fn no_files(path: &Path) -> io::Result<Vec<u8>> {
    panic!("nothing is to be read, least of all {}", path.display())
}

/// A good configuration: the upstream, and this.
fn good(text: &str) -> Config {
    load_with(Some(&format!("{text}\n{UPSTREAM}")), &[], &no_files).unwrap()
}

/// What is said about a wrong one that has an upstream.
fn told(text: &str) -> String {
    told_env(text, &[])
}

fn told_env(text: &str, env: &[(&str, &str)]) -> String {
    load_with(Some(&format!("{text}\n{UPSTREAM}")), env, &no_files)
        .expect_err("this configuration must be refused")
        .to_string()
}

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
fn without_an_upstream_the_message_says_how_to_name_one() {
    let error = load_with(None, &[], &no_files).unwrap_err().to_string();
    insta::assert_snapshot!(error);
    let error = load_with(Some("[upstream]\n"), &[], &no_files)
        .unwrap_err()
        .to_string();
    insta::assert_snapshot!(error);
}

#[test]
fn protocols_that_nobody_could_judge_are_not_switched_to() {
    for name in ["h2c", "H2C", "HTTP/2.0", "TLS/1.0", "", "web socket"] {
        let text = format!("{UPSTREAM}upgrades = [\"chat\", {name:?}]");
        let told = load_with(Some(&text), &[], &no_files)
            .expect_err(name)
            .to_string();
        assert!(told.contains("upstream.upgrades[2]: "), "{name:?}: {told}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let text = "[server]\nlisen = \"x\"\nzzzzzz = 1\n[sever]\na = 1\n[[rule]]\npath = \"/x\"\nacces = \"public\"";
    insta::assert_snapshot!(told(text));
    insta::assert_snapshot!(told("[admin]\nqqqqqqqqqq = 1"));
}

#[test]
fn a_wrong_type_says_what_was_expected() {
    let text = "log = 1\n[server]\nthreads = \"two\"\nlisten = 8080\ntrusted_proxies = \"10.0.0.0/8\"\n[tokens]\naudience = [\"a\", 1]\n[upstream.x]\n[cookies]\nsecure = 1\n[rule]\npath = \"/\"";
    let text = text.replace("[upstream.x]\n", "");
    insta::assert_snapshot!(told(&text));
}

#[test]
fn syntax_errors_have_a_line_and_hide_nothing_behind_guesses() {
    insta::assert_snapshot!(told("[server]\nlisten = \nthreads = = 2"));
    insta::assert_snapshot!(told("[server]\nthreads = 99999999999999999999"));
    insta::assert_snapshot!(told("[log]\nlevel = \"info\"\nlevel = \"warn\""));
}

#[test]
fn a_host_that_is_not_served_is_warned_of_where_it_is_named() {
    let with = |hosts: &str| {
        let text = format!(
            "[server]\npublic_url = \"https://app.example.org\"\nhosts = {hosts}\n\
             [[rule]]\npath = \"/x\"\nhost = \"Admin.Example.org\"\naccess = \"deny\"\n"
        );
        good(&text).warnings
    };
    assert!(with("[]").is_empty());
    assert!(with("[\"APP.example.org\", \"admin.example.org\"]").is_empty());
    let told = with("[\"www.example.org\"]");
    assert!(told.iter().any(|w| w.contains("rule[1].host")), "{told:?}");
    assert!(
        told.iter().any(|w| w.contains("server.public_url")),
        "{told:?}"
    );
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = r#"
[server]
listen = "localhost"
threads = -1
trusted_proxies = ["10.0.0.0/8", "0.0.0.0/0", "::/0", "proxy"]
public_url = "https://app.example.org/app"
hosts = ["http://x"]
max_connections = 0
header_timeout = "10"
drain_timeout = "2h"
[admin]
listen = "9180"
[paths]
allow = ["semicolons", "x"]
[[paths.prefix]]
path = "/a/"
[[paths.prefix]]
path = "/b"
[[paths.prefix]]
path = "/b"
[store]
url = "sqlite:x"
cache = "32MB"
deadline = "0s"
[audit]
dir = ""
keep = "1s"
max_size = "1KiB"
[tokens]
issuer = ""
audience = [" "]
algorithm = "none"
keys_dir = ""
access_ttl = "2h"
rotation_grace = "6m"
leeway = "31s"
[sessions]
lifetime = "1s"
max_per_user = 0
when_full = "oldest"
ip = "none"
[cookies]
name_prefix = "a b"
secure = "yes"
same_site = "lax"
domain = "com"
[signup]
mode = "opened"
roles = ["a b"]
[passwords]
min_length = 7
memory = "1MiB"
max_concurrent = 65
[login]
identifiers = ["name"]
max_failures = -1
lock_for = "0s"
[headers]
preset = "nativ"
[headers.custom]
sub = "X-User-Id"
[policy]
default = "users"
stale = "x"
[[rule]]
path = "public"
access = "open"
[[rule]]
path = "/**/a"
methods = ["get", "A B"]
host = "a:80"
roles = ["a,b"]
[[rule]]
path = "/a*"
access = "public"
roles = ["admin"]
[[rule]]
path = "/a//b"
[[rule]]
path = "/a?b"
access = "user"
[[rule]]
path = "/../b"
access = "user"
[[mount]]
prefix = "/"
delivery = "cookie"
allowed_origins = ["*"]
[[mount]]
prefix = "/a"
dialect = "sidgate"
[[mount]]
prefix = "/a/b"
[limits]
login = "20"
sessions = "x"
body = "1B"
[log]
format = "xml"
level = "verbose"
"#;
    insta::assert_snapshot!("every_mistake", told(text));
}

#[test]
fn features_of_later_versions_are_refused_each_with_one_sentence() {
    let text = r#"
[store]
url = "redis://localhost"
[signup]
mode = "verify"
[login]
second_factor = "totp"
[headers]
assertion = true
[policy]
stale = "strict"
[[rule]]
path = "/"
access = "user"
stale = "strict"
[[mount]]
dialect = "clerk"
[tenancy]
mode = "host"
[geoip]
database = "city.mmdb"
[rpc]
listen = "127.0.0.1:4502"
"#;
    insta::assert_snapshot!("later_features", told(text));
}

#[test]
fn every_kind_of_upstream_is_understood() {
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
    for (text, told) in [
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
        assert_eq!(upstream(text).unwrap_err(), told);
    }
}

#[test]
fn tls_is_told_whole_or_not_at_all() {
    let told_one = |text: &str| told(text).lines().next().unwrap_or_default().to_owned();
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
        let told = told_one(&format!("[server.tls]\n{text}"));
        assert!(told.contains(words), "{text}\n{told}");
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
    let told = words.to_string();
    assert!(
        told.contains("https://127.0.0.1:8080") && told.contains("clients may have one"),
        "{told}"
    );
    assert!(told.contains("0.0.0.0:80 sends clients there"), "{told}");
}

#[test]
fn a_listener_that_could_not_do_what_it_is_for_is_refused() {
    for (text, words) in [
        (
            "proxy_protocol = true",
            "nobody is trusted to send the header",
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
        let told = told(&format!("[server]\n{text}"));
        assert!(told.contains(words), "{text}\n{told}");
    }
}

#[test]
fn what_has_no_effect_yet_is_accepted_and_told() {
    let config = good(
        "[mail]\nfrom = \"a\"\n[login]\notp_ttl = \"1m\"\n[[mount]]\npages = true\n\
         status_mode = \"http\"\n[[tenant]]\nname = \"a\"\n[limits]\nsessions = \"1/s\"",
    );
    insta::assert_debug_snapshot!(config.warnings);
    let quiet = good("[[mount]]\npages = false\n[server.tls]\ncert = \"\"");
    assert!(quiet.warnings.is_empty(), "{:?}", quiet.warnings);
}

#[test]
fn risky_choices_are_warned_about() {
    let config = good(
        "[admin]\nlisten = \"0.0.0.0:9180\"\n[policy]\ndefault = \"public\"\n\
         [login]\nmax_failures = 0\n[[rule]]\npath = \"/**\"\naccess = \"public\"\n\
         [[rule]]\npath = \"/admin/**\"\nroles = [\"admin\"]",
    );
    insta::assert_debug_snapshot!(config.warnings);
}

#[test]
fn weak_hashes_need_the_danger_key() {
    for strong in [
        "memory = \"46MiB\"\niterations = 1",
        "memory = \"19MiB\"\niterations = 2",
        "memory = \"12MiB\"\niterations = 3",
    ] {
        assert!(good(&format!("[passwords]\n{strong}")).dangers.is_empty());
    }
    for weak in [
        "memory = \"45MiB\"\niterations = 1",
        "memory = \"18MiB\"\niterations = 2",
        "memory = \"11MiB\"\niterations = 30",
    ] {
        assert!(
            told(&format!("[passwords]\n{weak}")).contains("too weakly"),
            "{weak}"
        );
        let config = good(&format!("[passwords]\n{weak}\ndanger_weak_hash = true"));
        assert_eq!(config.dangers, ["passwords.danger_weak_hash"]);
    }
}

#[test]
fn cookies_follow_the_public_url() {
    let secure = good("[server]\npublic_url = \"https://App.example.org:443\"");
    assert_eq!(
        secure.api.public_origin.as_deref(),
        Some("https://app.example.org")
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
fn insecure_cookies_on_https_need_the_danger_key() {
    let text = "[server]\npublic_url = \"https://a.example.org\"\n[cookies]\nsecure = false\n";
    insta::assert_snapshot!(told(text));
    let config = good(&format!("{text}danger_insecure = true"));
    assert_eq!(config.dangers, ["cookies.danger_insecure"]);
    assert!(!config.api.cookies.secure);
    insta::assert_snapshot!(told("[cookies]\nsame_site = \"None\""));
}

#[test]
fn a_check_renews_cookies_only_where_tokens_travel_in_them() {
    let mount = "[[mount]]\nverify_renews = true\n";
    for delivery in ["", "delivery = \"json\"\n", "delivery = \"hybrid\"\n"] {
        let told = told(&format!("{mount}{delivery}"));
        assert!(told.contains("mount[1].verify_renews"), "{told}");
    }
    let config = good(&format!("{mount}delivery = \"cookies\"\n"));
    assert!(config.api.mounts.iter().all(|mount| mount.verify_renews));
    assert!(!good("").api.mounts[0].verify_renews);
}

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
    insta::assert_snapshot!("environment", told_env("", &env));
}

#[test]
fn a_value_from_the_environment_is_blamed_on_its_variable() {
    let env = [
        ("SIDEGATE__RULE", "[{ path = \"x\", access = \"public\" }]"),
        ("SIDEGATE__SERVER__TRUSTED_PROXIES", "10.0.0.0/8,0.0.0.0/0"),
    ];
    insta::assert_snapshot!(told_env("[[rule]]\npath = \"/y\"", &env));
}

#[test]
fn hs256_takes_its_secret_from_the_file_the_environment_or_a_file_of_its_own() {
    let hs = "[tokens]\nalgorithm = \"HS256\"\n";
    let plain = good(&format!("{hs}secret = \"{SECRET}\""));
    assert_eq!(plain.tokens.secret.unwrap().expose(), SECRET.as_bytes());
    let env = [("SIDEGATE__TOKENS__SECRET", SECRET)];
    let config = load_with(Some(&format!("{hs}{UPSTREAM}")), &env, &no_files).unwrap();
    assert_eq!(config.tokens.secret.unwrap().expose(), SECRET.as_bytes());
    for end in ["", "\n", "\r\n"] {
        let read = |path: &Path| {
            assert_eq!(path, Path::new("/run/secrets/jwt"));
            Ok(format!("{SECRET}{end}").into_bytes())
        };
        let env = [("SIDEGATE__TOKENS__SECRET_FILE", "/run/secrets/jwt")];
        let config = load_with(Some(&format!("{hs}{UPSTREAM}")), &env, &read).unwrap();
        assert_eq!(
            config.tokens.secret.unwrap().expose(),
            SECRET.as_bytes(),
            "{end:?}"
        );
    }
}

#[test]
fn a_missing_empty_short_or_published_secret_stops_the_start() {
    let hs = "[tokens]\nalgorithm = \"HS256\"\n";
    let mut said = String::new();
    for tokens in [
        String::new(),
        "secret = \"\"".to_owned(),
        "secret = \"short\"".to_owned(),
        format!("secret = \"{}\"", "ab".repeat(20)),
        "secret = \"your-256-bit-secret-your-256-bit-secret\"".to_owned(),
        format!("secret = \"{SECRET}\"\nsecret_file = \"x\""),
    ] {
        said += &told(&format!("{hs}{tokens}"));
        said += "\n";
    }
    said += &told(&format!(
        "[tokens]\nalgorithm = \"ES256\"\nsecret = \"{SECRET}\""
    ));
    let text = format!("{hs}secret_file = \"s\"\n{UPSTREAM}");
    for held in [
        None,
        Some(""),
        Some("\n"),
        Some("0123456789012345678901234567890\n"),
    ] {
        let missing = io::ErrorKind::NotFound;
        let read = |_: &Path| held.map(|t| t.as_bytes().to_vec()).ok_or(missing.into());
        said += "\n";
        said += &load_with(Some(&text), &[], &read).unwrap_err().to_string();
    }
    insta::assert_snapshot!("secrets", said);
}

#[test]
fn no_secret_shows_in_messages_or_debug_output() {
    let text = format!("[tokens]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"");
    assert!(!format!("{:?}", good(&text)).contains(SECRET));
    let weak = "hunter2-hunter2";
    assert!(!told(&text.replace(SECRET, weak)).contains(weak));
    let sources = Sources {
        file: Some(("config.toml".into(), text)),
        env: vec![("SIDEGATE__TOKENS__SECRET".to_owned(), SECRET.to_owned())],
        read: &no_files,
        cores: NonZeroUsize::MIN,
    };
    assert!(!format!("{sources:?}").contains(SECRET));
}

#[test]
fn the_control_socket_lies_where_only_the_operator_can_put_one() {
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
    assert!(told(&long).contains("server.control"), "{}", told(&long));
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
    insta::assert_snapshot!(told(&text(wrong)));
    insta::assert_snapshot!(told(&text("")));
}

#[test]
fn config_toml_states_exactly_the_defaults() {
    let mut raw: Raw = toml::from_str(include_str!("../../config.toml")).unwrap();
    assert_eq!(
        raw.upstream.url, "http://127.0.0.1:3000",
        "the one example value"
    );
    raw.upstream.url = String::new();
    assert_eq!(raw, Raw::default());
    assert!(
        load_with(Some(include_str!("../../config.toml")), &[], &no_files)
            .unwrap()
            .warnings
            .is_empty()
    );
}

#[test]
fn config_toml_names_every_key_also_those_not_in_force() {
    let all: Table = toml::from_str(&uncommented()).unwrap();
    let template = Raw::template().unwrap();
    let mut compared = 0;
    same(&all, &template, "", &mut compared);
    assert!(compared > 90, "only {compared} keys were compared");
}

/// `config.toml` with its out-of-force settings in force.
fn uncommented() -> String {
    let setting = |line: &&str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
    };
    include_str!("../../config.toml")
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|_| setting(&line))
                .unwrap_or(line)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn same(file: &Table, template: &Table, path: &str, compared: &mut usize) {
    for (key, expected) in template {
        let path = format!("{path}.{key}");
        let found = file
            .get(key)
            .unwrap_or_else(|| panic!("config.toml lacks {path}"));
        match (found, expected) {
            (Value::Table(found), Value::Table(expected)) => same(found, expected, &path, compared),
            (Value::Array(found), Value::Array(expected))
                if expected.iter().any(Value::is_table) =>
            {
                let (Some(Value::Table(found)), Some(Value::Table(expected))) =
                    (found.first(), expected.first())
                else {
                    panic!("{path} must be a list of tables");
                };
                same(found, expected, &path, compared);
            }
            _ if path == ".upstream.url" => {}
            _ => assert_eq!(found, expected, "{path}"),
        }
        *compared += 1;
    }
    assert_eq!(
        file.len(),
        template.len(),
        "config.toml knows more than the code under {path}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_file_and_no_variable_is_too_odd(
        text in "(\\[{1,2}(server|rule|tokens|x)\\]{1,2}\n)?[a-z_\\.]{1,12} ?= ?\\PC{0,40}\n\\PC{0,40}",
        name in "SIDEGATE__(SERVER|RULE|HEADERS|\\PC{0,4})(__\\PC{0,8}){0,3}",
        value in "\\PC{0,40}",
    ) {
        let read = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        if let Err(problems) = load_with(Some(&text), &[(&name, &value)], &read) {
            prop_assert!(!problems.0.is_empty());
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn every_text_value_of_every_key_gets_an_answer(
        pick in 0usize..200,
        value in "\\PC{0,30}",
    ) {
        let mut keys = Vec::new();
        texts(&Raw::template().unwrap(), "", &mut keys);
        let key = &keys[pick % keys.len()];
        let name = format!("SIDEGATE__{}", key.replace('.', "__"));
        let read = |_: &Path| Ok(value.clone().into_bytes());
        let outcome = load_with(Some(UPSTREAM), &[(&name, &value)], &read);
        if let Err(problems) = outcome {
            for problem in &problems.0 {
                prop_assert!(!problem.key.is_empty(), "{problem}");
            }
        }
    }
}

/// The paths of all text keys outside lists of tables.
fn texts(table: &Table, path: &str, keys: &mut Vec<String>) {
    for (key, value) in table {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match value {
            Value::Table(inner) => texts(inner, &path, keys),
            Value::String(_) => keys.push(path),
            _ => {}
        }
    }
}
