//! The keys of `[mount]`.

use crate::api::settings::{Delivery, DialectName};
use crate::config::key::{Support, keys};
use crate::config::kind::{Flag, Text, Texts, Word, flag, list, text, texts, word};

keys! {
    /// Path prefixes that Sidegate answers itself. Without any [[mount]], this one applies.
    MOUNT = list("mount[]");

    /// The prefix.
    PREFIX: Text = text("mount[].prefix", "/auth");

    /// Only "sidegate" in this version.
    DIALECT: Word<DialectName> = word("mount[].dialect", "sidegate", &DIALECT_WORDS)
        .later(&["nauth", "biore", "clerk", "nest"], "this version speaks the dialect \"sidegate\" only");

    /// Where tokens are sent: "json" (in the body), "cookies", or "hybrid" (access token in the body,
    /// refresh token in a cookie).
    DELIVERY: Word<Delivery> = word("mount[].delivery", "json", &DELIVERY_WORDS);

    /// Not in this version: browser pages.
    PAGES: Flag = flag("mount[].pages", true)
        .support(Support::IgnoredIfOn("this version has no browser pages"));

    /// Other origins that may call, such as "https://app.example.org".
    ALLOWED_ORIGINS: Texts = texts("mount[].allowed_origins", &[]);

    /// true: the response to GET /auth/verify renews an expired access cookie with Set-Cookie. Use it
    /// only if the gateway passes Set-Cookie of a 200 to the browser: a browser that does not receive
    /// its new cookies loses its session.
    VERIFY_RENEWS: Flag = flag("mount[].verify_renews", false);

    /// Not in this version: status codes of the nest dialect.
    STATUS_MODE: Text = text("mount[].status_mode", "wire")
        .support(Support::Ignored("it is for the nest dialect"));
}

const DIALECT_WORDS: [(&str, DialectName); 1] =
    [(DialectName::Sidegate.as_str(), DialectName::Sidegate)];

const DELIVERY_WORDS: [(&str, Delivery); 3] = [
    ("json", Delivery::Json),
    ("cookies", Delivery::Cookies),
    ("hybrid", Delivery::Hybrid),
];
