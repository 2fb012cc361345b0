//! `[policy]` and `[[rule]]`: who may pass where.

use crate::config::build::names;
use crate::config::build::reader::Reader;
use crate::config::raw::{Raw, Rule};
use crate::policy::settings::{Access, Rule as RuleSettings, Settings, Storage};
use crate::types::role::Role;

/// The rules' settings.
pub(super) fn build(reader: &mut Reader<'_>, raw: &Raw) -> Settings {
    let default = reader
        .word("policy.default", &raw.policy.default, &ACCESS)
        .unwrap_or(Access::Deny);
    if default == Access::Public {
        reader.warn("policy.default = \"public\": whatever no rule speaks of is open to everybody");
    }
    let storage = reader
        .word("policy.cache", &raw.policy.cache, &STORAGE)
        .unwrap_or_default();
    let rules: Vec<RuleSettings> = raw
        .rule
        .iter()
        .enumerate()
        .map(|(index, rule)| self::rule(reader, &format!("rule[{}]", index + 1), rule, storage))
        .collect();
    warn_unreachable(reader, &rules);
    warn_unserved(reader, &rules, &raw.server.hosts);
    Settings {
        rules,
        default,
        storage,
    }
}

fn rule(reader: &mut Reader<'_>, key: &str, rule: &Rule, storage: Storage) -> RuleSettings {
    pattern(reader, &format!("{key}.path"), &rule.path);
    methods(reader, key, rule);
    let host = names::host(&rule.host).unwrap_or_default();
    if host.is_empty() && !rule.host.is_empty() {
        reader.refuse_with(
            &format!("{key}.host"),
            "is no host name",
            "write a name without scheme, port and path, such as \"app.example.org\"",
        );
    }
    RuleSettings {
        path: rule.path.clone(),
        methods: rule.methods.clone(),
        host,
        access: access(reader, key, rule),
        roles: roles(reader, key, rule),
        storage: if rule.cache.is_empty() {
            storage
        } else {
            reader
                .word(&format!("{key}.cache"), &rule.cache, &STORAGE)
                .unwrap_or_default()
        },
    }
}

/// `/a/*/b`, `/a/**`. A star that is only a part of a segment would look like it matched and not.
fn pattern(reader: &mut Reader<'_>, key: &str, path: &str) {
    let Some(rest) = path.strip_prefix('/') else {
        reader.refuse_with(
            key,
            "a path pattern begins with \"/\"",
            "write \"/public/**\"",
        );
        return;
    };
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let complaint = match segment {
            "**" if !last => "\"**\" can only stand at the end",
            "**" | "*" => continue,
            "." | ".." => "a request's path never holds dot segments, so this would never match",
            "" if !last => "an empty segment would never match",
            s if s.contains('*') => "\"*\" stands for a whole segment, not for a part of one",
            s if s.contains(['?', '#']) => "a rule is about the path only, without query",
            s if s.chars().any(|c| c.is_control() || c == ' ') => {
                "a path holds no spaces or control characters"
            }
            _ => continue,
        };
        reader.refuse(key, complaint);
        return;
    }
}

fn methods(reader: &mut Reader<'_>, key: &str, rule: &Rule) {
    for (index, method) in rule.methods.iter().enumerate() {
        let key = format!("{key}.methods[{}]", index + 1);
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if method.is_empty() || !method.bytes().all(token) {
            reader.refuse(&key, format!("{method:?} is no method"));
        } else if method.bytes().any(|b| b.is_ascii_lowercase()) {
            let hint = format!("write {:?}", method.to_ascii_uppercase());
            reader.refuse_with(&key, "methods are written in capitals", hint);
        }
    }
}

fn access(reader: &mut Reader<'_>, key: &str, rule: &Rule) -> Access {
    let at = format!("{key}.access");
    if rule.access.is_empty() {
        if rule.roles.is_empty() {
            reader.refuse_with(
                &at,
                "the rule does not say who may pass",
                "write access = \"public\", \"optional\", \"user\" or \"deny\"",
            );
            return Access::Deny;
        }
        return Access::User;
    }
    let access = reader
        .word(&at, &rule.access, &ACCESS)
        .unwrap_or(Access::Deny);
    if access != Access::User && !rule.roles.is_empty() {
        reader.refuse_with(
            &format!("{key}.roles"),
            format!("roles have no meaning with access = {:?}", rule.access),
            "use access = \"user\"",
        );
    }
    access
}

fn roles(reader: &mut Reader<'_>, key: &str, rule: &Rule) -> Vec<Role> {
    let mut roles = Vec::new();
    for (index, role) in rule.roles.iter().enumerate() {
        match role.parse() {
            Ok(role) => roles.push(role),
            Err(error) => reader.refuse(
                &format!("{key}.roles[{}]", index + 1),
                format!("{role:?} is no role: {error}"),
            ),
        }
    }
    roles
}

/// A rule for a host that is not served never holds: a request for it is refused before.
fn warn_unserved(reader: &mut Reader<'_>, rules: &[RuleSettings], hosts: &[String]) {
    let is_served = |host: &str| {
        let same = |listed: &String| names::host(listed).as_deref() == Some(host);
        host.is_empty() || hosts.is_empty() || hosts.iter().any(same)
    };
    for (index, rule) in rules.iter().enumerate() {
        if !is_served(&rule.host) {
            reader.warn(format!(
                "rule[{}].host = {:?} is not in server.hosts, so no request ever falls under that rule",
                index + 1,
                rule.host
            ));
        }
    }
}

/// A rule below one that matches everything is most likely in the wrong place.
fn warn_unreachable(reader: &mut Reader<'_>, rules: &[RuleSettings]) {
    let catches_all =
        |r: &RuleSettings| r.path == "/**" && r.methods.is_empty() && r.host.is_empty();
    if let Some(at) = rules.iter().position(catches_all)
        && at + 1 < rules.len()
    {
        reader.warn(format!(
            "rules after rule {} are never reached: it matches every request",
            at + 1
        ));
    }
}

const ACCESS: [(&str, Access); 4] = [
    ("public", Access::Public),
    ("optional", Access::Optional),
    ("user", Access::User),
    ("deny", Access::Deny),
];

const STORAGE: [(&str, Storage); 2] =
    [("private", Storage::Private), ("app", Storage::Application)];
