//! Settings of features that this version does not have. What would change safety or meaning is
//! refused; what changes nothing is accepted with a warning when somebody took the trouble to set it.

use crate::config::build::desk::Desk;
use crate::config::raw::Raw;

/// Notes every such setting.
pub(super) fn refuse(desk: &mut Desk<'_>, raw: &Raw) {
    features(desk, raw);
    entries(desk, raw);
    harmless(desk, raw);
}

fn features(desk: &mut Desk<'_>, raw: &Raw) {
    let refusals: [(&str, bool, &str); 7] = [
        (
            "login.second_factor",
            raw.login.second_factor != "off",
            "this version has no second factors; only \"off\" is possible",
        ),
        (
            "signup.mode",
            raw.signup.mode == "verify",
            "this version sends no mail, so it cannot have addresses confirmed; use \"closed\" or \
             \"open\"",
        ),
        (
            "tenancy.mode",
            raw.tenancy.mode != "off",
            "this version serves a single tenant; only \"off\" is possible",
        ),
        (
            "headers.assertion",
            raw.headers.assertion,
            "this version does not send a signed assertion",
        ),
        (
            "rpc.listen",
            !raw.rpc.listen.is_empty(),
            "this version does not speak the Nest TCP transport",
        ),
        (
            "geoip.database",
            !raw.geoip.database.is_empty(),
            "this version does not look up places",
        ),
        (
            "policy.stale",
            raw.policy.stale == "strict",
            "\"strict\" needs a store shared by several replicas, which this version does not \
             have; with the local store revocations are never stale",
        ),
    ];
    for (key, wanted, why) in refusals {
        if wanted {
            desk.refuse(key, why);
        }
    }
    if raw.policy.stale != "strict" {
        desk.word("policy.stale", &raw.policy.stale, &[("bounded", ())]);
    }
}

fn entries(desk: &mut Desk<'_>, raw: &Raw) {
    for (index, rule) in raw.rule.iter().enumerate() {
        if rule.stale == "strict" {
            desk.refuse(
                &format!("rule[{}].stale", index + 1),
                "\"strict\" needs a store shared by several replicas, which this version does not \
                 have",
            );
        } else if !rule.stale.is_empty() {
            let key = format!("rule[{}].stale", index + 1);
            desk.word(&key, &rule.stale, &[("bounded", ())]);
        }
    }
    for (index, mount) in raw.mount.iter().enumerate() {
        let key = format!("mount[{}].dialect", index + 1);
        if LATER_DIALECTS.contains(&mount.dialect.as_str()) {
            desk.refuse(&key, "this version speaks the dialect \"sidegate\" only");
        } else {
            desk.word(&key, &mount.dialect, &[("sidegate", ())]);
        }
    }
}

fn harmless(desk: &mut Desk<'_>, raw: &Raw) {
    let unused = [
        ("mail", "this version sends no mail"),
        ("login.otp_ttl", "this version has no one-time codes"),
        ("login.otp_attempts", "this version has no one-time codes"),
        ("tenancy.header", "this version serves a single tenant"),
        ("tenant", "this version serves a single tenant"),
        (
            "limits.sessions",
            "it is for the biore dialect; limits.lists is the native one",
        ),
    ];
    for (key, why) in unused {
        if desk.is_set(key) {
            desk.warn(format!("{key} has no effect: {why}"));
        }
    }
    if !raw.upstream.health_path.is_empty() {
        desk.warn("upstream.health_path has no effect: this version does not probe the upstream");
    }
    for (index, mount) in raw.mount.iter().enumerate() {
        let index = index + 1;
        let pages = format!("mount[{index}].pages");
        if mount.pages && desk.is_set(&pages) {
            desk.warn(format!(
                "{pages} has no effect: this version has no browser pages"
            ));
        }
        let status = format!("mount[{index}].status_mode");
        if desk.is_set(&status) {
            desk.warn(format!(
                "{status} has no effect: it is for the nest dialect"
            ));
        }
    }
}

/// Dialects that are known by name.
const LATER_DIALECTS: &[&str] = &["nauth", "biore", "clerk", "nest"];
