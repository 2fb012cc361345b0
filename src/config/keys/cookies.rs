//! The keys of `[cookies]`.

use crate::config::key::keys;
use crate::config::kind::{Flag, Text, Word, flag, section, text, word};

keys! {
    COOKIES = section("cookies");

    /// The cookies are named sidegate_access, sidegate_refresh and sidegate_device. Secure cookies
    /// without a domain have "__Host-" in front.
    NAME_PREFIX: Text = text("cookies.name_prefix", "sidegate");

    /// "auto": as the scheme of server.public_url; without it, as the listener. Or true, or false.
    SECURE: Word<Secure> = word("cookies.secure", "auto", &SECURE_WORDS)
        .or_flag();

    /// "Lax", "Strict" or "None".
    SAME_SITE: Word<&str> = word("cookies.same_site", "Lax", &SAME_SITE_WORDS);

    /// All hosts under this domain receive the cookies. "": this host only.
    DOMAIN: Text = text("cookies.domain", "");

    /// DANGER: admits secure = false although server.public_url is https.
    DANGER_INSECURE: Flag = flag("cookies.danger_insecure", false);
}

/// Whether cookies are `Secure`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Secure {
    Auto,
    Yes,
    No,
}

const SECURE_WORDS: [(&str, Secure); 3] = [
    ("auto", Secure::Auto),
    ("true", Secure::Yes),
    ("false", Secure::No),
];

const SAME_SITE_WORDS: [(&str, &str); 3] = [("Lax", "Lax"), ("Strict", "Strict"), ("None", "None")];
