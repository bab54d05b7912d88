use serde::{Deserialize, Serialize};
use steadfast_bank::{AccountId, ProductId};
use steadfast_core::{Failure, Money, canonical::Hash};

/// What the assistant would do, to the last argument. A confirmation is bound to its hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Proposal {
    /// Money from one account to another.
    Transfer {
        /// The payer's account.
        from: AccountId,
        /// The payee's.
        to: AccountId,
        /// Whom the user meant.
        name: String,
        /// How much.
        amount: Money,
    },
    /// A purchase.
    Purchase {
        /// What.
        product: ProductId,
        /// As people call it.
        name: String,
        /// How many.
        quantity: u32,
        /// For how much in all.
        total: Money,
        /// The buyer's account.
        from: AccountId,
    },
}

impl Proposal {
    /// What a yes is bound to.
    pub fn hash(&self) -> Result<Hash, Failure> {
        Hash::of(self).map_err(|error| Failure::internal("proposal.hash", error.to_string()))
    }
}
