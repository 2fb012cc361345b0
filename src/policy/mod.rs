//! Which rule applies to a request? The first one that matches; if none does, the default.
//!
//! Invariant: if two parsers could disagree about a path, the stricter interpretation applies. Open
//! rules (`public`, `optional`) match byte for byte as written. Restrictive ones (`user`, `deny`) also
//! match other spellings that an application may treat as the same: other ASCII case, percent escapes,
//! an added or missing slash at the end. If the operator allows ambiguous paths, an open rule must
//! match both interpretations of the path, a restrictive rule either.

mod pattern;
pub mod settings;
#[cfg(test)]
mod tests;

use crate::policy::pattern::{Pattern, first_byte};
use crate::policy::settings::{Access, Rule, Settings, Storage};
use crate::types::path::{BadPath, CleanPath};
use crate::types::role::Role;

/// The rules, compiled.
#[derive(Debug)]
pub struct RouteTable {
    rules: Vec<Compiled>,
    default: Access,
    storage: Storage,
    /// Rule numbers by the first byte a path may have after its slash, decoded and in lower case;
    /// the last is for `/` itself.
    by_first_byte: Vec<Vec<usize>>,
    all: Vec<usize>,
}

#[derive(Debug)]
struct Compiled {
    pattern: Pattern,
    methods: Vec<String>,
    host: String,
    access: Access,
    roles: Vec<Role>,
    storage: Storage,
}

impl RouteTable {
    /// Compiles the rules. The error contains the number of the first invalid rule.
    pub fn new(settings: Settings) -> Result<Self, PolicyError> {
        let mut rules = Vec::with_capacity(settings.rules.len());
        for (at, rule) in settings.rules.into_iter().enumerate() {
            let number = at + 1;
            rules.push(Compiled::new(rule).map_err(|why| PolicyError { number, why })?);
        }
        let starting = |first: Option<u8>| -> Vec<usize> {
            let may_start = |(_, rule): &(usize, &Compiled)| rule.pattern.may_start_with(first);
            rules
                .iter()
                .enumerate()
                .filter(may_start)
                .map(|(at, _)| at)
                .collect()
        };
        let firsts = (0..=u8::MAX).map(Some).chain([None]);
        Ok(Self {
            by_first_byte: firsts.map(starting).collect(),
            all: (0..rules.len()).collect(),
            rules,
            default: settings.default,
            storage: settings.storage,
        })
    }

    /// The rule of a request. `host` may have a port; a rule for `GET` is also one for `HEAD`.
    pub fn find(&self, method: &str, host: &str, path: &CleanPath<'_>) -> RuleMatch<'_> {
        let host = without_port(host);
        for at in self.candidates(path) {
            let Some(rule) = self.rules.get(*at) else {
                continue;
            };
            if rule.is_about(method, host) && rule.pattern.matches(path, rule.is_open()) {
                return RuleMatch {
                    access: rule.access,
                    roles: &rule.roles,
                    storage: rule.storage,
                    rule: Some(*at),
                };
            }
        }
        RuleMatch {
            access: self.default,
            roles: &[],
            storage: self.storage,
            rule: None,
        }
    }

    /// The rules that may match, in order. A path with two readings may start in two ways.
    fn candidates(&self, path: &CleanPath<'_>) -> &[usize] {
        if path.is_ambiguous() {
            return &self.all;
        }
        let slot = first_byte(path).map_or(256, usize::from);
        self.by_first_byte.get(slot).unwrap_or(&self.all)
    }
}

impl Compiled {
    fn new(rule: Rule) -> Result<Self, BadRule> {
        let is_token =
            |m: &String| !m.is_empty() && m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        if !rule.methods.iter().all(is_token) {
            return Err(BadRule::Method);
        }
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_[]:".contains(&b);
        if !rule.host.bytes().all(plain) || without_port(&rule.host) != rule.host {
            return Err(BadRule::Host);
        }
        if !rule.roles.is_empty() && rule.access != Access::User {
            return Err(BadRule::Roles);
        }
        Ok(Self {
            pattern: Pattern::parse(&rule.path)?,
            methods: rule.methods,
            host: rule.host,
            access: rule.access,
            roles: rule.roles,
            storage: rule.storage,
        })
    }

    /// Whether the rule admits anonymous callers.
    const fn is_open(&self) -> bool {
        matches!(self.access, Access::Public | Access::Optional)
    }

    fn is_about(&self, method: &str, host: &str) -> bool {
        let is_same = |own: &String| {
            let head = own == "GET" && method == "HEAD";
            head || own == method || (!self.is_open() && own.eq_ignore_ascii_case(method))
        };
        (self.methods.is_empty() || self.methods.iter().any(is_same))
            && (self.host.is_empty() || self.host.eq_ignore_ascii_case(host))
    }
}

/// The host without its port and without the dot that ends an absolute name.
fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// The policy for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleMatch<'a> {
    /// The required access.
    pub access: Access,
    /// Any of these is needed; none = no role is needed.
    pub roles: &'a [Role],
    /// Which caches may store the answer.
    pub storage: Storage,
    /// The number of the rule, counted from 0; none = the default.
    pub rule: Option<usize>,
}

/// An invalid rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rule {number}: {why}")]
pub struct PolicyError {
    /// Which rule, counted from 1.
    pub number: usize,
    /// The error in the pattern or rule.
    pub why: BadRule,
}

/// Why a rule is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// The pattern is not a path that could be requested.
    #[error("{0}")]
    Path(#[from] BadPath),
    /// A `*` that is not a whole segment, or `**` that is not the end.
    #[error("`*` stands for one whole segment, `/**` only at the end of the path")]
    Wildcard,
    /// Not a method.
    #[error("methods are written in capitals, e.g. \"GET\"")]
    Method,
    /// Not a host.
    #[error("a host is written in lower case and without a port")]
    Host,
    /// Roles in a rule that does not use them.
    #[error("roles need access = \"user\"")]
    Roles,
}
