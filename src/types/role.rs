//! Roles: the names that a rule requires and an account has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A role's name: 1 to 64 of `A-Z a-z 0-9 . _ : -`. Case matters. A comma can never occur, so a
/// comma-separated header value has one reading.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Role(String);

impl Role {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text that is not a role name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is 1 to 64 of A-Z a-z 0-9 . _ : -, at most 16 of them and 256 bytes in all")]
pub struct BadRole;

impl FromStr for Role {
    type Err = BadRole;

    fn from_str(text: &str) -> Result<Self, BadRole> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadRole)
        }
    }
}

impl TryFrom<String> for Role {
    type Error = BadRole;

    fn try_from(text: String) -> Result<Self, BadRole> {
        text.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The roles of one account, in order, without repeats, at most [`Roles::MAX`]. The first is the
/// one the single claim `role` shows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Role>", into = "Vec<Role>")]
pub struct Roles(Vec<Role>);

impl Roles {
    /// How many roles an account can hold.
    pub const MAX: usize = 16;

    /// The length of the names joined by commas, as in the identity header.
    pub const MAX_BYTES: usize = 256;

    /// From a list; repeats are dropped, too many are refused.
    pub fn new(list: impl IntoIterator<Item = Role>) -> Result<Self, BadRole> {
        let mut roles = Vec::new();
        for role in list {
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        let roles = Self(roles);
        let fits = roles.0.len() <= Self::MAX && roles.joined().len() <= Self::MAX_BYTES;
        if fits { Ok(roles) } else { Err(BadRole) }
    }

    /// The first role, or an empty text.
    pub fn first(&self) -> &str {
        self.0.first().map_or("", Role::as_str)
    }

    /// All roles in order.
    pub fn iter(&self) -> impl Iterator<Item = &Role> {
        self.0.iter()
    }

    /// Whether the account holds this role.
    pub fn has(&self, role: &Role) -> bool {
        self.0.contains(role)
    }

    /// All roles, joined by commas.
    pub fn joined(&self) -> String {
        self.0
            .iter()
            .map(Role::as_str)
            .collect::<Vec<_>>()
            .join(",")
    }
}

impl TryFrom<Vec<Role>> for Roles {
    type Error = BadRole;

    fn try_from(list: Vec<Role>) -> Result<Self, BadRole> {
        Self::new(list)
    }
}

impl From<Roles> for Vec<Role> {
    fn from(roles: Roles) -> Self {
        roles.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_name_cannot_carry_a_separator() {
        assert!("app:admin".parse::<Role>().is_ok());
        for bad in ["", "a,b", "a b", "é", "a\n", &"r".repeat(65)] {
            assert_eq!(bad.parse::<Role>(), Err(BadRole), "{bad:?}");
        }
    }

    #[test]
    fn repeats_are_dropped_and_too_many_refused() {
        let role = |n: usize| format!("r{n}").parse::<Role>().unwrap();
        assert_eq!(
            Roles::new([role(1), role(2), role(1)]).unwrap().joined(),
            "r1,r2"
        );
        assert_eq!(Roles::new((0..17).map(role)), Err(BadRole));
        let long = |n: usize| format!("{n}{}", "r".repeat(63)).parse::<Role>().unwrap();
        assert_eq!(
            Roles::new((0..4).map(long)),
            Err(BadRole),
            "259 bytes do not fit a header"
        );
    }
}
