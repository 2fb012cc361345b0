//! Settings of features that this version does not have. What would change safety or meaning is
//! refused; what changes nothing is accepted with a warning when somebody took the trouble to set it.

use crate::config::build::reader::Reader;
use crate::config::raw::Raw;

/// Notes every such setting.
pub(super) fn refuse(reader: &mut Reader<'_>, raw: &Raw) {
    features(reader, raw);
    entries(reader, raw);
    harmless(reader, raw);
}

fn features(reader: &mut Reader<'_>, raw: &Raw) {
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
            reader.refuse(key, why);
        }
    }
    if raw.policy.stale != "strict" {
        reader.word("policy.stale", &raw.policy.stale, &[("bounded", ())]);
    }
}

fn entries(reader: &mut Reader<'_>, raw: &Raw) {
    for (index, rule) in raw.rule.iter().enumerate() {
        if rule.stale == "strict" {
            reader.refuse(
                &format!("rule[{}].stale", index + 1),
                "\"strict\" needs a store shared by several replicas, which this version does not \
                 have",
            );
        } else if !rule.stale.is_empty() {
            let key = format!("rule[{}].stale", index + 1);
            reader.word(&key, &rule.stale, &[("bounded", ())]);
        }
    }
    for (index, mount) in raw.mount.iter().enumerate() {
        let key = format!("mount[{}].dialect", index + 1);
        if LATER_DIALECTS.contains(&mount.dialect.as_str()) {
            reader.refuse(&key, "this version speaks the dialect \"sidegate\" only");
        } else {
            reader.word(&key, &mount.dialect, &[("sidegate", ())]);
        }
    }
}

fn harmless(reader: &mut Reader<'_>, raw: &Raw) {
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
        if reader.is_set(key) {
            reader.warn(format!("{key} has no effect: {why}"));
        }
    }
    if !raw.upstream.health_path.is_empty() {
        reader.warn("upstream.health_path has no effect: this version does not probe the upstream");
    }
    for (index, mount) in raw.mount.iter().enumerate() {
        let index = index + 1;
        let pages = format!("mount[{index}].pages");
        if mount.pages && reader.is_set(&pages) {
            reader.warn(format!(
                "{pages} has no effect: this version has no browser pages"
            ));
        }
        let status = format!("mount[{index}].status_mode");
        if reader.is_set(&status) {
            reader.warn(format!(
                "{status} has no effect: it is for the nest dialect"
            ));
        }
    }
}

/// Dialects that are known by name.
const LATER_DIALECTS: &[&str] = &["nauth", "biore", "clerk", "nest"];
