//! The keys of `[signup]`.

use crate::config::key::keys;
use crate::config::kind::{Texts, Word, section, texts, word};
use crate::service::settings::SignupMode;

keys! {
    SIGNUP = section("signup");

    /// "closed": the operator adds accounts. "open": everybody may sign up.
    MODE: Word<SignupMode> = word("signup.mode", "closed", &MODE_WORDS)
        .later(&["verify"], "this version cannot have addresses confirmed; use \"closed\" or \"open\"");

    /// Roles of new accounts.
    ROLES: Texts = texts("signup.roles", &["user"]);

    /// Names that are refused at sign-up, together with names that look like them: another case,
    /// separators, digits or letters of another script in place of letters. An operator may use them.
    RESERVED: Texts = texts("signup.reserved", &["admin", "root", "administrator", "system", "support", "sidegate", "null"]);
}

const MODE_WORDS: [(&str, SignupMode); 2] =
    [("closed", SignupMode::Closed), ("open", SignupMode::Open)];
