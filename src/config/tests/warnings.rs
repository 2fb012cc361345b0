//! Which configurations are accepted with a warning, and which need a `danger_*` key?

use super::{good, mistakes};

#[test]
fn a_rule_for_a_host_that_is_not_served_is_a_warning() {
    let with = |hosts: &str| {
        let text = format!(
            "[server]\npublic_url = \"https://app.example.org\"\nhosts = {hosts}\n\
             [[rule]]\npath = \"/x\"\nhost = \"Admin.Example.org\"\naccess = \"deny\"\n"
        );
        good(&text).warnings
    };
    assert!(with("[]").is_empty());
    assert!(with("[\"APP.example.org\", \"admin.example.org\"]").is_empty());
    let warnings = with("[\"www.example.org\"]");
    assert!(
        warnings.iter().any(|w| w.contains("rule[1].host")),
        "{warnings:?}"
    );
    assert!(
        warnings.iter().any(|w| w.contains("server.public_url")),
        "{warnings:?}"
    );
}

#[test]
fn a_setting_without_effect_is_accepted_with_a_warning() {
    let config = good(
        "[login]\notp_ttl = \"1m\"\n[[mount]]\npages = true\n\
         status_mode = \"http\"\n[[tenant]]\nname = \"a\"\n[limits]\nsessions = \"1/s\"",
    );
    insta::assert_debug_snapshot!(config.warnings);
    let quiet = good("[[mount]]\npages = false\n[server.tls]\ncert = \"\"");
    assert!(quiet.warnings.is_empty(), "{:?}", quiet.warnings);
}

#[test]
fn risky_settings_are_warned_about() {
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
            mistakes(&format!("[passwords]\n{weak}")).contains("too weakly"),
            "{weak}"
        );
        let config = good(&format!("[passwords]\n{weak}\ndanger_weak_hash = true"));
        assert_eq!(config.dangers, ["passwords.danger_weak_hash"]);
    }
}

#[test]
fn insecure_cookies_on_https_need_the_danger_key() {
    let text = "[server]\npublic_url = \"https://a.example.org\"\n[cookies]\nsecure = false\n";
    insta::assert_snapshot!(mistakes(text));
    let config = good(&format!("{text}danger_insecure = true"));
    assert_eq!(config.dangers, ["cookies.danger_insecure"]);
    assert!(!config.api.cookies.secure);
    insta::assert_snapshot!(mistakes("[cookies]\nsame_site = \"None\""));
}
