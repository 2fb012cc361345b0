//! What do help, wrong usage and `check` print?

use super::*;

#[test]
fn the_help_of_every_command_has_examples() {
    fn walk(command: &mut clap::Command, all: &mut Vec<String>) {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "{help}");
        all.push(help);
        for sub in command.get_subcommands_mut() {
            if sub.get_name() != "help" {
                walk(sub, all);
            }
        }
    }
    let mut root = Args::command();
    root.build();
    let mut all = Vec::new();
    walk(&mut root, &mut all);
    assert!(all.len() > 20, "only {} commands were seen", all.len());
    insta::assert_snapshot!("help", all.join("\n----------------\n\n"));
}

#[test]
fn help_is_printed_on_stdout_and_wrong_usage_on_stderr() {
    let app = FakeApp::default();
    let help = ran(&app, &["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for wrong in [
        &[][..],
        &["fly"],
        &["users", "add"],
        &["users", "add", "a b"],
        &["users", "add", "ann", "--password", "secret"],
        &["users", "add", "ann", "--role", "a,b"],
        &["users", "add", "ann", "--email", "ann"],
        &["users", "add", "ann", "--mobile", "12"],
        &["users", "show", "a b"],
        &["users", "list", "--limit", "0"],
        &["sessions", "end"],
        &["sessions", "end", "--all", "--user", "ann"],
        &["sessions", "end", "--id", "1"],
        &["audit", "list", "--limit", "10001"],
    ] {
        let outcome = ran(&app, wrong);
        assert_eq!(outcome.code, 2, "{wrong:?}: {}", outcome.err);
        assert_eq!(outcome.out, "", "{wrong:?}");
        assert!(!outcome.err.is_empty(), "{wrong:?}");
    }
    assert!(app.asked.borrow().is_empty(), "nothing was done");
}

#[test]
fn an_invalid_configuration_ends_every_command_with_exit_code_two() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "[server]\nlisen = 1\n[upstream]\nurl = \"x\"\n",
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    let app = FakeApp::default();
    for command in ["serve", "check", "drain"] {
        let outcome = ran_with(&[], &app, &[command, "--config", path]);
        assert_eq!(outcome.code, 2);
        assert_eq!(
            outcome.err.replace(path, "config.toml"),
            "config.toml:2:1: server.lisen: unknown key; did you mean \"listen\"?\n\
             config.toml:4:1: upstream.url: is no address of an upstream; \
             write \"http://host:port\", \"https://host:port\" or \"h2c://host:port\" without a path, \
             or \"unix:/path\"\n"
        );
    }
    let missing = ran_with(&[], &app, &["serve", "--config", "/nonexistent.toml"]);
    assert_eq!(missing.code, 2);
    assert_eq!(
        missing.err,
        "/nonexistent.toml: cannot be read: No such file or directory (os error 2); \
         name the configuration with --config FILE\n"
    );
    std::fs::write(file.path(), b"\xff").unwrap();
    let binary = ran_with(&[], &app, &["serve", "--config", path]);
    assert_eq!(
        (binary.code, binary.err.contains("is not UTF-8")),
        (2, true)
    );
    assert_eq!(*app.served.borrow(), 0);
}

#[test]
fn check_explains_the_configuration_as_text_and_as_json() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = r#"
[server]
threads = 2
trusted_proxies = ["10.0.0.0/8"]
public_url = "https://app.example.org"
[upstream]
url = "http://127.0.0.1:3000"
[cookies]
secure = false
danger_insecure = true
[signup]
mode = "open"
[headers]
preset = "custom"
[headers.custom]
sub = "X-Id"
[[rule]]
path = "/public/**"
access = "public"
[[rule]]
path = "/admin/*"
methods = ["GET", "POST"]
host = "app.example.org"
roles = ["admin", "owner"]
[[rule]]
path = "/x"
access = "optional"
[[mount]]
delivery = "hybrid"
pages = true
"#;
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    let app = FakeApp::default();
    let outcome = ran_with(&[], &app, &["check", "--config", path]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    insta::assert_snapshot!("check", outcome.out.replace(path, "config.toml"));
    let outcome = ran_with(&[], &app, &["check", "--json", "--config", path]);
    insta::assert_snapshot!("check_json", outcome.out);
}

#[test]
fn check_prints_the_documented_defaults_without_reading_a_configuration() {
    let app = FakeApp::default();
    let missing = ["check", "--defaults", "--config", "/nowhere/config.toml"];
    let outcome = ran_with(&[("SIDEGATE__NO__KEY", "1")], &app, &missing);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert_eq!(outcome.out, include_str!("../../../config.toml"));
}
