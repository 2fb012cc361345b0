//! The keys of `[paths]`.

use crate::config::key::keys;
use crate::config::kind::{Text, Texts, list, section, text, texts};

keys! {
    /// A path with two interpretations is answered 400. These keys admit single cases:
    /// "empty-segment", "encoded-slash", "semicolon", "non-ascii".
    PATHS = section("paths");

    /// The cases that are admitted in every path.
    ALLOW: Texts = texts("paths.allow", &[]);
}

keys! {
    /// The cases that are admitted under one path prefix. The longest prefix applies.
    PREFIX = list("paths.prefix[]");

    /// The prefix, such as "/files".
    PREFIX_PATH: Text = text("paths.prefix[].path", "");

    /// The cases, as in paths.allow.
    PREFIX_ALLOW: Texts = texts("paths.prefix[].allow", &[]);
}
