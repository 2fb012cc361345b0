//! Which mistakes of a file are reported, and with which message?

use super::{load_with, mistakes, no_files};

#[test]
fn without_an_upstream_the_message_explains_how_to_set_one() {
    let error = load_with(None, &[], &no_files).unwrap_err().to_string();
    insta::assert_snapshot!(error);
    let error = load_with(Some("[upstream]\n"), &[], &no_files)
        .unwrap_err()
        .to_string();
    insta::assert_snapshot!(error);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let text = "[server]\nlisen = \"x\"\nzzzzzz = 1\n[sever]\na = 1\n[[rule]]\npath = \"/x\"\nacces = \"public\"";
    insta::assert_snapshot!(mistakes(text));
    insta::assert_snapshot!(mistakes("[admin]\nqqqqqqqqqq = 1"));
}

#[test]
fn a_wrong_type_is_reported_with_the_expected_one() {
    let text = "log = 1\n[server]\nthreads = \"two\"\nlisten = 8080\ntrusted_proxies = \"10.0.0.0/8\"\n[tokens]\naudience = [\"a\", 1]\n[upstream.x]\n[cookies]\nsecure = 1\n[rule]\npath = \"/\"";
    let text = text.replace("[upstream.x]\n", "");
    insta::assert_snapshot!(mistakes(&text));
}

#[test]
fn syntax_errors_have_a_line_number_and_no_suggestion() {
    insta::assert_snapshot!(mistakes("[server]\nlisten = \nthreads = = 2"));
    insta::assert_snapshot!(mistakes("[server]\nthreads = 99999999999999999999"));
    insta::assert_snapshot!(mistakes("[log]\nlevel = \"info\"\nlevel = \"warn\""));
}

#[test]
fn all_errors_are_reported_at_once() {
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
    insta::assert_snapshot!("every_mistake", mistakes(text));
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
[rpc]
listen = "127.0.0.1:4502"
"#;
    insta::assert_snapshot!("later_features", mistakes(text));
}
