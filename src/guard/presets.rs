//! The named sets of identity headers, as the applications that read them expect them.
//!
//! To add a header to a preset: one entry in [`PRESETS`]. The client's own header of that name is then removed from
//! every request. To add a preset: its table here, and its name in `settings::PRESETS`. To add a claim: a variant of
//! [`Claim`] with its value in `headers.rs`, its name there and in `settings::CLAIMS`, and a line in
//! `config/keys/headers.rs`; a fact that is not in the access token yet also needs `tokens/claims.rs`.

use crate::guard::headers::Claim;

/// One header of a preset.
pub(super) type Entry = (&'static str, Claim);

/// A preset: the names that it writes, and the names that it never writes although the same application
/// reads them, so that the client's headers with these names are removed, too.
pub(super) struct PresetTable {
    pub(super) names: &'static [&'static str],
    pub(super) writes: &'static [Entry],
    pub(super) strips: &'static [&'static str],
}

/// All presets.
pub(super) const PRESETS: &[PresetTable] = &[
    PresetTable {
        names: &["native"],
        writes: &[
            ("x-user-id", Claim::UserId),
            ("x-user-name", Claim::Username),
            ("x-user-email", Claim::Email),
            ("x-user-role", Claim::Roles(',')),
            ("x-tenant-id", Claim::Tenant),
            ("x-session-id", Claim::Session),
            ("x-auth-method", Claim::Method),
        ],
        strips: &[],
    },
    PresetTable {
        names: &["oauth2-proxy"],
        writes: &[
            ("x-forwarded-user", Claim::UserId),
            ("x-forwarded-email", Claim::Email),
            ("x-forwarded-preferred-username", Claim::Username),
            ("x-forwarded-groups", Claim::Roles(',')),
        ],
        strips: &["x-forwarded-access-token"],
    },
    PresetTable {
        names: &["auth-request"],
        writes: &[
            ("x-auth-request-user", Claim::UserId),
            ("x-auth-request-email", Claim::Email),
            ("x-auth-request-preferred-username", Claim::Username),
            ("x-auth-request-groups", Claim::Roles(',')),
        ],
        strips: &["x-auth-request-access-token"],
    },
    PresetTable {
        names: &["remote-user"],
        writes: &[
            ("remote-user", Claim::Username),
            ("remote-email", Claim::Email),
            ("remote-name", Claim::Username),
            ("remote-groups", Claim::Roles(',')),
        ],
        strips: &[],
    },
    PresetTable {
        names: &["authentik"],
        writes: &[
            ("x-authentik-username", Claim::Username),
            ("x-authentik-email", Claim::Email),
            ("x-authentik-name", Claim::Username),
            ("x-authentik-uid", Claim::UserId),
            ("x-authentik-groups", Claim::Roles('|')),
        ],
        strips: &["x-authentik-entitlements", "x-authentik-jwt"],
    },
    PresetTable {
        names: &["pomerium"],
        writes: &[
            ("x-pomerium-claim-user", Claim::UserId),
            ("x-pomerium-claim-email", Claim::Email),
            ("x-pomerium-claim-groups", Claim::Roles(',')),
        ],
        strips: &[],
    },
    PresetTable {
        names: &["cloudflare"],
        writes: &[("cf-access-authenticated-user-email", Claim::Email)],
        strips: &[],
    },
    PresetTable {
        names: &["grafana"],
        writes: &[
            ("x-webauth-user", Claim::Username),
            ("x-webauth-email", Claim::Email),
            ("x-webauth-name", Claim::Username),
            ("x-webauth-role", Claim::Role),
            ("x-webauth-groups", Claim::Roles(',')),
        ],
        strips: &[],
    },
    PresetTable {
        names: &["gitea"],
        writes: &[
            ("x-webauth-user", Claim::Username),
            ("x-webauth-email", Claim::Email),
            ("x-webauth-fullname", Claim::Username),
        ],
        strips: &[],
    },
    PresetTable {
        names: &["jenkins"],
        writes: &[
            ("x-forwarded-user", Claim::Username),
            ("x-forwarded-mail", Claim::Email),
            ("x-forwarded-displayname", Claim::Username),
            ("x-forwarded-groups", Claim::Roles('|')),
        ],
        strips: &[],
    },
    PresetTable {
        names: &["django"],
        writes: &[("remote-user", Claim::Username)],
        strips: &[],
    },
    PresetTable {
        names: &["spring"],
        writes: &[("sm_user", Claim::Username), ("sm_role", Claim::Roles(','))],
        strips: &[],
    },
    PresetTable {
        names: &["php", "nextcloud"],
        writes: &[("x-remote-user", Claim::Username)],
        strips: &[],
    },
    PresetTable {
        names: &["rails"],
        writes: &[
            ("x-remote-user", Claim::Username),
            ("x-remote-email", Claim::Email),
            ("x-remote-groups", Claim::Roles(',')),
        ],
        strips: &[],
    },
    PresetTable {
        names: &["cloudbeaver"],
        writes: &[("x-user", Claim::Username), ("x-role", Claim::Roles('|'))],
        strips: &["x-first-name", "x-last-name", "x-team"],
    },
];

/// The header with the device token of a client without cookies. It is a credential and never forwarded.
pub const DEVICE_TOKEN: &str = "x-device-token";

/// The signed assertion.
pub(super) const ASSERTION: &str = "x-sidegate-assertion";

/// The name under which the applications of a preset read an assertion as well. It is managed like [`ASSERTION`],
/// whether assertions are sent or not.
pub(super) const ASSERTIONS: &[(&str, &str)] = &[
    ("pomerium", "x-pomerium-jwt-assertion"),
    ("cloudflare", "cf-access-jwt-assertion"),
];

/// The further name of a preset.
pub(super) fn assertion_of(preset: &str) -> Option<&'static str> {
    let mut all = ASSERTIONS.iter();
    all.find(|(of, _)| *of == preset).map(|(_, name)| *name)
}

/// Ours whatever the preset: the signed assertion, the device token, and `Proxy`, which CGI programs read as a
/// setting.
pub(super) const ALWAYS: &[&str] = &[ASSERTION, DEVICE_TOKEN, "proxy"];
