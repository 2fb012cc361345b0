//! `[policy]` and `[[rule]]`: which requests are permitted.

use crate::config::build::names;
use crate::config::build::reader::{Entry, Reader};
use crate::config::keys::{policy, rule, server};
use crate::config::tree::item;
use crate::policy::settings::{Access, Rule, Settings, Storage};
use crate::types::role::Role;

/// The rules' settings.
pub(super) fn build(reader: &mut Reader<'_>) -> Settings {
    reader.get(&policy::STALE);
    let default = reader.get(&policy::DEFAULT).unwrap_or(Access::Deny);
    if default == Access::Public {
        reader.warn("policy.default = \"public\": every path without a rule is open to everybody");
    }
    let storage = reader.get(&policy::CACHE).unwrap_or_default();
    let rules: Vec<Rule> = reader
        .entries(&rule::RULE)
        .map(|entry| rule(reader, entry, storage))
        .collect();
    warn_unreachable(reader, &rules);
    warn_unserved(reader, &rules);
    Settings {
        rules,
        default,
        storage,
    }
}

fn rule(reader: &mut Reader<'_>, entry: Entry, storage: Storage) -> Rule {
    reader.get_in(entry, &rule::STALE);
    let path = reader.get_in(entry, &rule::PATH);
    pattern(reader, &entry.path(&rule::PATH), path);
    let methods = methods(reader, entry);
    let text = reader.get_in(entry, &rule::HOST);
    let host = names::host(text).unwrap_or_default();
    if host.is_empty() && !text.is_empty() {
        reader.refuse_with(
            &entry.path(&rule::HOST),
            "is no host name",
            "write a name without scheme, port and path, such as \"app.example.org\"",
        );
    }
    Rule {
        path: path.to_owned(),
        methods,
        host,
        access: access(reader, entry),
        roles: roles(reader, entry),
        storage: reader.get_in(entry, &rule::CACHE).unwrap_or(storage),
    }
}

/// Checks a pattern such as `/a/*/b` or `/a/**`. A star within a segment is refused: it looks like a
/// wildcard and would not match.
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

fn methods(reader: &mut Reader<'_>, entry: Entry) -> Vec<String> {
    let methods = reader.get_in(entry, &rule::METHODS);
    for (index, method) in methods.iter().enumerate() {
        let at = item(&entry.path(&rule::METHODS), index);
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if method.is_empty() || !method.bytes().all(token) {
            reader.refuse(&at, format!("{method:?} is no method"));
        } else if method.bytes().any(|b| b.is_ascii_lowercase()) {
            let hint = format!("write {:?}", method.to_ascii_uppercase());
            reader.refuse_with(&at, "methods are written in capitals", hint);
        }
    }
    methods.into_iter().map(str::to_owned).collect()
}

fn access(reader: &mut Reader<'_>, entry: Entry) -> Access {
    let text = reader.text_in(entry, &rule::ACCESS);
    let roles = reader.get_in(entry, &rule::ROLES);
    if text.is_empty() {
        if roles.is_empty() {
            reader.refuse_with(
                &entry.path(&rule::ACCESS),
                "is not set",
                "write access = \"public\", \"optional\", \"user\" or \"deny\"",
            );
            return Access::Deny;
        }
        return Access::User;
    }
    let access = reader.get_in(entry, &rule::ACCESS).unwrap_or(Access::Deny);
    if access != Access::User && !roles.is_empty() {
        reader.refuse_with(
            &entry.path(&rule::ROLES),
            format!("roles have no meaning with access = {text:?}"),
            "use access = \"user\"",
        );
    }
    access
}

fn roles(reader: &mut Reader<'_>, entry: Entry) -> Vec<Role> {
    let mut roles = Vec::new();
    for (index, role) in reader.get_in(entry, &rule::ROLES).into_iter().enumerate() {
        match role.parse() {
            Ok(role) => roles.push(role),
            Err(error) => reader.refuse(
                &item(&entry.path(&rule::ROLES), index),
                format!("{role:?} is no role: {error}"),
            ),
        }
    }
    roles
}

/// Warns of a rule for a host that is not served. Requests for that host are refused before rules
/// apply.
fn warn_unserved(reader: &mut Reader<'_>, rules: &[Rule]) {
    let hosts = reader.get(&server::HOSTS);
    let is_served = |host: &str| {
        let same = |listed: &&str| names::host(listed).as_deref() == Some(host);
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

/// Warns of rules after one that matches everything.
fn warn_unreachable(reader: &mut Reader<'_>, rules: &[Rule]) {
    let catches_all = |r: &Rule| r.path == "/**" && r.methods.is_empty() && r.host.is_empty();
    if let Some(at) = rules.iter().position(catches_all)
        && at + 1 < rules.len()
    {
        reader.warn(format!(
            "rules after rule {} are never reached: it matches every request",
            at + 1
        ));
    }
}
