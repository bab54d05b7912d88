//! Whose, and who.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Whose things these are. Part of every stream, claim and limit; `default` when unnamed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(std::sync::Arc<str>);

impl TenantId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        Self("default".into())
    }
}

impl FromStr for TenantId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_name("tenant", text)?;
        Ok(Self(text.into()))
    }
}

/// A name outside the rule for names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} {value:?} is not a name: use 1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-', starting with a letter or digit"
)]
pub struct InvalidName {
    /// What the name was for.
    pub what: &'static str,
    /// The text as given, cut to 64 characters.
    pub value: String,
}

/// Names of tenants, users, workflows and signals share one rule.
pub fn check_name(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let fine = (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fine { Ok(()) } else { Err(InvalidName { what, value: text.chars().take(64).collect() }) }
}

impl TryFrom<String> for TenantId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
impl From<TenantId> for String {
    fn from(tenant: TenantId) -> Self {
        tenant.0.as_ref().into()
    }
}
impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a principal may do, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees and starts only their own things.
    User,
    /// Sees every run and may signal, cancel and replay.
    Operator,
    /// May also change the node itself.
    Admin,
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "user" => Ok(Self::User),
            "operator" => Ok(Self::Operator),
            "admin" => Ok(Self::Admin),
            other => Err(format!("{other:?} is not a role: use user, operator or admin")),
        }
    }
}

/// Who acts: a user of a tenant, in a role.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Principal {
    /// Whose world they act in.
    pub tenant: TenantId,
    /// Their name within the tenant.
    pub user: String,
    /// What they may do.
    pub role: Role,
}

impl Principal {
    /// Steadfast itself, acting for a tenant: timers, triggers, recovery.
    pub fn system(tenant: TenantId) -> Self {
        Self { tenant, user: "system".into(), role: Role::Admin }
    }
    /// An operator or above.
    pub fn operates(&self) -> bool {
        self.role >= Role::Operator
    }
}
