//! Which answers are forgotten on demand.

use serde::{Deserialize, Serialize};
use steadfast_core::TenantId;

use super::entry::Kept;
use crate::Operation;

/// Which answers are meant: those that fit all that is said. Never those of other tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Which {
    /// Whose.
    #[serde(skip)]
    pub tenant: TenantId,
    /// Of this operation.
    pub operation: Option<Operation>,
    /// Of this user, as the server knows them or as the client named them.
    pub user: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// All, where nothing else is said.
    pub all: bool,
}

impl Which {
    /// Is it said which?
    pub fn says_something(&self) -> bool {
        self.all || self.operation.is_some() || self.user.is_some() || self.tag.is_some()
    }
    pub(super) fn fits(&self, kept: &Kept) -> bool {
        kept.tenant == self.tenant
            && self.operation.is_none_or(|operation| operation == kept.operation)
            && self.user.as_ref().is_none_or(|user| kept.owners.contains(user))
            && self.tag.as_ref().is_none_or(|tag| kept.tags.contains(tag))
    }
}
