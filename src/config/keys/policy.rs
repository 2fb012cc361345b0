//! The keys of `[policy]`.

use crate::config::key::keys;
use crate::config::kind::{Word, section, word};
use crate::policy::settings::{Access, Storage};

keys! {
    POLICY = section("policy");

    /// Access without a matching rule: "user", "public", "optional" or "deny".
    DEFAULT: Word<Access> = word("policy.default", "user", &ACCESS_WORDS);

    /// Access while revocations cannot be read. Only "bounded"; "strict" needs a store that replicas
    /// share.
    STALE: Word<()> = word("policy.stale", "bounded", &[("bounded", ())])
        .later(&["strict"], "\"strict\" needs a store shared by several replicas, which this version does not have; with the local store revocations are never stale");

    /// Storage of a response that depends on the user. "private": only by the client; `public`,
    /// `s-maxage` and headers for shared caches are removed from the response. "app": as the
    /// application states. A response that sets a cookie of Sidegate is never stored.
    CACHE: Word<Storage> = word("policy.cache", "private", &CACHE_WORDS);
}

/// The words of `policy.default` and of a rule's `access`.
pub(super) const ACCESS_WORDS: [(&str, Access); 4] = [
    ("public", Access::Public),
    ("optional", Access::Optional),
    ("user", Access::User),
    ("deny", Access::Deny),
];

/// The words of `policy.cache` and of a rule's `cache`.
pub(super) const CACHE_WORDS: [(&str, Storage); 2] =
    [("private", Storage::Private), ("app", Storage::Application)];
