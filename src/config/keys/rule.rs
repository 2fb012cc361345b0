//! The keys of `[rule]`.

use crate::config::key::keys;
use crate::config::keys::policy::{ACCESS_WORDS, CACHE_WORDS};
use crate::config::kind::{Text, Texts, Word, list, text, texts, word};
use crate::policy::settings::{Access, Storage};

keys! {
    /// Rules. The first match applies.
    RULE = list("rule[]");

    /// The path, such as "/public/**". "*" matches one segment; "/**" at the end matches any depth.
    PATH: Text = text("rule[].path", "");

    /// Methods in capitals. Empty: all.
    METHODS: Texts = texts("rule[].methods", &[]);

    /// The host, without port. "": all.
    HOST: Text = text("rule[].host", "");

    /// "public": everybody. "optional": everybody, and logged-in users are identified to the
    /// upstream. "user": logged-in users. "deny": nobody. Required, except that a rule with roles
    /// means "user".
    ACCESS: Word<Access> = word("rule[].access", "", &ACCESS_WORDS).or_none();

    /// The user needs one of these roles. Empty: no role is needed.
    ROLES: Texts = texts("rule[].roles", &[]);

    /// Replaces policy.stale for this rule.
    STALE: Word<()> = word("rule[].stale", "", &[("bounded", ())])
        .or_none()
        .later(&["strict"], "\"strict\" needs a store shared by several replicas, which this version does not have");

    /// Replaces policy.cache for this rule.
    CACHE: Word<Storage> = word("rule[].cache", "", &CACHE_WORDS).or_none();
}
