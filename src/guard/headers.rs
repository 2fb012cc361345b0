//! Which identity headers are written for a caller, and which may no client send?
//!
//! Invariant: a value is visible ASCII of at most [`MAX_VALUE`] bytes. Visible characters are written
//! as they are; all others and `%` are percent-encoded UTF-8, so decoding returns the original. If a
//! value is too long, the token is refused: a truncated or missing identity could be taken for another
//! one. A missing value has no header.

use http::{HeaderName, HeaderValue};

use crate::guard::presets::{ALWAYS, ASSERTIONS, Entry, PRESETS};
use crate::guard::settings::{Preset, is_reserved};
use crate::tokens::AccessClaims;
use crate::types::header::{encoded, is_same};

/// The headers for each caller, made from the configured preset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityHeaders {
    entries: Vec<(HeaderName, Claim)>,
}

impl IdentityHeaders {
    /// Reads a preset; refuses an unknown name, an unknown claim, and a header that is written twice or
    /// controls the connection.
    pub fn new(preset: &Preset) -> Result<Self, BadPreset> {
        let entries = match preset {
            Preset::Named(name) => {
                let table = PRESETS.iter().find(|t| t.names.contains(&name.as_str()));
                let table = table.ok_or_else(|| BadPreset::Unknown(name.clone()))?;
                let entry = |(name, claim): &Entry| (HeaderName::from_static(name), *claim);
                table.writes.iter().map(entry).collect()
            }
            Preset::Custom(list) => custom(list)?,
        };
        Ok(Self { entries })
    }

    /// Every name that no client may send: all that any preset may write, the custom ones, the assertions. The
    /// proxy compares them in their folded form, and also removes every name that folds to `X_SIDEGATE_…`.
    pub fn managed(&self) -> Vec<HeaderName> {
        let written = PRESETS.iter().flat_map(|t| t.writes).map(|(name, _)| name);
        let others = PRESETS.iter().flat_map(|t| t.strips).chain(ALWAYS);
        let assertions = ASSERTIONS.iter().map(|(_, name)| name);
        let fixed = written.chain(others).chain(assertions);
        let fixed = fixed.map(|n| HeaderName::from_static(n));
        let own = self.entries.iter().map(|(name, _)| name.clone());
        let mut names: Vec<_> = fixed.chain(own).collect();
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        names
    }

    /// The headers of one caller, each name once.
    pub fn render(&self, claims: &AccessClaims) -> Result<Vec<(HeaderName, HeaderValue)>, TooLong> {
        let mut headers = Vec::with_capacity(self.entries.len());
        for (name, claim) in &self.entries {
            let value = encoded(&claim.of(claims)).to_string();
            if value.is_empty() {
                continue;
            }
            if value.len() > MAX_VALUE {
                return Err(TooLong);
            }
            // Encoded text is visible ASCII, which every header value may be.
            let value = HeaderValue::try_from(value).map_err(|_| TooLong)?;
            headers.push((name.clone(), value));
        }
        Ok(headers)
    }
}

fn custom(list: &[(String, HeaderName)]) -> Result<Vec<(HeaderName, Claim)>, BadPreset> {
    let mut entries: Vec<(HeaderName, Claim)> = Vec::new();
    for (claim, header) in list {
        let known = Claim::from_name(claim).ok_or_else(|| BadPreset::Claim(claim.clone()))?;
        if is_reserved(header) {
            return Err(BadPreset::Reserved(header.clone()));
        }
        if entries.iter().any(|(other, _)| is_same(other, header)) {
            return Err(BadPreset::Twice(header.clone()));
        }
        entries.push((header.clone(), known));
    }
    Ok(entries)
}

/// One fact about a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The user's id.
    UserId,
    /// The name of the user.
    Username,
    /// The e-mail address.
    Email,
    /// The first role.
    Role,
    /// All roles with this between them.
    Roles(char),
    /// The tenant.
    Tenant,
    /// The session's id.
    Session,
    /// The authentication method.
    Method,
}

/// The claims by their names in a configuration file, in the order of `settings::CLAIMS`.
const NAMED: &[(&str, Claim)] = &[
    ("sub", Claim::UserId),
    ("username", Claim::Username),
    ("email", Claim::Email),
    ("role", Claim::Role),
    ("roles", Claim::Roles(',')),
    ("tenantId", Claim::Tenant),
    ("sid", Claim::Session),
    ("amr", Claim::Method),
];

impl Claim {
    /// The claim with this name in a configuration file. The names are those of the access token.
    pub fn from_name(name: &str) -> Option<Self> {
        let named = NAMED.iter().find(|(known, _)| *known == name);
        named.map(|(_, claim)| *claim)
    }

    fn of(self, claims: &AccessClaims) -> String {
        match self {
            Self::UserId => claims.session.owner.user.to_string(),
            Self::Username => claims.username.clone(),
            Self::Email => claims.email.clone().unwrap_or_default(),
            Self::Role => claims.roles.first().to_owned(),
            Self::Roles(between) => claims.roles.joined().replace(',', &between.to_string()),
            Self::Tenant => claims.session.owner.tenant.to_string(),
            Self::Session => claims.session.id.to_string(),
            Self::Method => method(&claims.amr),
        }
    }
}

/// The log-in method as text: `password`, or `password+otp` after a second factor. `mfa` is left out,
/// since it only states that there were several.
pub(super) fn method(amr: &[String]) -> String {
    let word = |method: &String| match method.as_str() {
        "pwd" => "password".to_owned(),
        other => other.to_owned(),
    };
    let words = amr.iter().filter(|m| *m != "mfa").map(word);
    words.collect::<Vec<_>>().join("+")
}

/// The longest value of an identity header, in bytes.
pub const MAX_VALUE: usize = 256;

/// A value that does not fit into a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an identity header would be longer than {MAX_VALUE} bytes")]
pub struct TooLong;

/// Why identity headers cannot be configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPreset {
    /// No preset has this name.
    #[error("there is no header preset {0:?}")]
    Unknown(String),
    /// No claim has this name.
    #[error(
        "there is no claim {0:?}; known are sub, username, email, role, roles, tenantId, sid, amr"
    )]
    Claim(String),
    /// The header controls the message or carries credentials.
    #[error("no claim can be written into the header {0}")]
    Reserved(HeaderName),
    /// Two claims in one header.
    #[error("the header {0} is named twice")]
    Twice(HeaderName),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::guard::settings::CLAIMS;
    use crate::model::session::{Generation, SessionKey};
    use crate::model::user::UserKey;
    use crate::types::ids::{SessionId, TenantId, TokenId, UserId};
    use crate::types::role::Roles;
    use crate::types::time::Timestamp;

    fn claims(username: &str, email: Option<&str>, roles: &[&str]) -> AccessClaims {
        AccessClaims {
            session: SessionKey {
                owner: UserKey {
                    tenant: TenantId::default(),
                    user: UserId::from_bytes([1; 16]),
                },
                id: SessionId::from_bytes([2; 16]),
            },
            generation: Generation(0),
            version: None,
            id: TokenId::from_bytes([3; 16]),
            username: username.to_owned(),
            email: email.map(str::to_owned),
            roles: Roles::new(roles.iter().map(|r| r.parse().unwrap())).unwrap(),
            amr: vec!["pwd".to_owned(), "otp".to_owned(), "mfa".to_owned()],
            auth_time: Timestamp::default(),
            issued_at: Timestamp::default(),
            not_before: Timestamp::default(),
            expires_at: Timestamp::MAX,
        }
    }

    fn named(name: &str) -> IdentityHeaders {
        IdentityHeaders::new(&Preset::Named(name.to_owned())).unwrap()
    }

    fn shown(preset: &str, claims: &AccessClaims) -> String {
        let headers = named(preset).render(claims).unwrap();
        let line = |(n, v): &(HeaderName, HeaderValue)| format!("{n}: {}", v.to_str().unwrap());
        headers.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_native_preset_writes_the_documented_headers() {
        let ann = claims("ann", Some("ann@example.org"), &["admin", "user"]);
        insta::assert_snapshot!(shown("native", &ann), @r"
        x-user-id: 01010101-0101-0101-0101-010101010101
        x-user-name: ann
        x-user-email: ann@example.org
        x-user-role: admin,user
        x-tenant-id: default
        x-session-id: 02020202-0202-0202-0202-020202020202
        x-auth-method: password+otp
        ");
    }

    #[test]
    fn presets_have_their_own_delimiters() {
        let ann = claims("ann", None, &["admin", "user"]);
        assert!(shown("authentik", &ann).contains("x-authentik-groups: admin|user"));
        assert!(shown("grafana", &ann).contains("x-webauth-role: admin\n"));
        assert!(shown("spring", &ann).contains("sm_user: ann"));
        assert_eq!(shown("django", &ann), "remote-user: ann");
    }

    #[test]
    fn every_preset_renders_each_name_once_and_only_managed_names() {
        let ann = claims("ann", Some("ann@example.org"), &["admin"]);
        let table: Vec<_> = PRESETS
            .iter()
            .flat_map(|table| table.names)
            .copied()
            .collect();
        assert_eq!(
            table,
            crate::guard::settings::PRESETS,
            "what can be configured is there"
        );
        for preset in table {
            let headers = named(preset);
            let managed = headers.managed();
            let mut names: Vec<_> = headers
                .render(&ann)
                .unwrap()
                .into_iter()
                .map(|(n, _)| n)
                .collect();
            assert!(names.iter().all(|name| managed.contains(name)), "{preset}");
            let count = names.len();
            names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
            names.dedup();
            assert_eq!(names.len(), count, "{preset}");
            assert!(count > 0);
        }
    }

    #[test]
    fn the_claims_that_can_be_configured_are_those_that_are_known() {
        let known: Vec<_> = NAMED.iter().map(|(name, _)| *name).collect();
        assert_eq!(known, CLAIMS);
    }

    #[test]
    fn a_claim_without_a_value_has_no_header() {
        let bare = shown("native", &claims("", None, &[]));
        for name in ["x-user-name", "x-user-email", "x-user-role"] {
            assert!(!bare.contains(name), "{bare}");
        }
    }

    #[test]
    fn s13_values_are_visible_ascii_and_decode_to_the_original() {
        let odd = claims("J\u{f6}rg 100%", None, &[]);
        assert!(shown("native", &odd).contains("x-user-name: J%C3%B6rg%20100%25"));
    }

    #[test]
    fn s13_an_identity_that_does_not_fit_is_refused_and_never_cut() {
        let fits = claims(&"a".repeat(MAX_VALUE), None, &[]);
        assert!(named("native").render(&fits).is_ok());
        let long = claims(&"a".repeat(MAX_VALUE + 1), None, &[]);
        assert_eq!(named("native").render(&long), Err(TooLong));
        let odd = claims(&"\u{f6}".repeat(50), None, &[]);
        assert_eq!(named("native").render(&odd), Err(TooLong));
    }

    #[test]
    fn custom_headers_are_checked() {
        let custom = |list: &[(&str, &'static str)]| {
            let list = list
                .iter()
                .map(|(c, h)| ((*c).to_owned(), HeaderName::from_static(h)));
            IdentityHeaders::new(&Preset::Custom(list.collect()))
        };
        let good = custom(&[("sub", "x-my-user"), ("roles", "x-my-roles")]).unwrap();
        assert!(
            good.managed()
                .contains(&HeaderName::from_static("x-my-user"))
        );
        assert!(matches!(
            custom(&[("nope", "x-a")]),
            Err(BadPreset::Claim(_))
        ));
        assert!(matches!(
            custom(&[("sub", "host")]),
            Err(BadPreset::Reserved(_))
        ));
        for name in [
            "x-sidegate-assertion",
            "x_sidegate_assertion",
            "proxy_authorization",
        ] {
            let refused = custom(&[("sub", name)]);
            assert!(matches!(refused, Err(BadPreset::Reserved(_))), "{name}");
        }
        let twice = custom(&[("sub", "x-a"), ("email", "x_a")]);
        assert!(matches!(twice, Err(BadPreset::Twice(_))));
        let unknown = IdentityHeaders::new(&Preset::Named("nope".to_owned()));
        assert!(matches!(unknown, Err(BadPreset::Unknown(_))));
    }

    proptest! {
        #[test]
        fn s13_any_name_gives_a_valid_value_that_decodes(name in "\\PC{0,80}|[ -~]{0,80}") {
            let value = encoded(&name).to_string();
            prop_assert!(value.bytes().all(|b| b.is_ascii_graphic()));
            let mut bytes = Vec::new();
            let mut rest = value.bytes();
            while let Some(byte) = rest.next() {
                bytes.push(if byte == b'%' {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                } else {
                    byte
                });
            }
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), name);
        }
    }
}
