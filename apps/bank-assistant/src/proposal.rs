use serde::{Deserialize, Serialize};
use steadfast_bank::{AccountId, ProductId};
use steadfast_core::{Failure, Money, RequestId, canonical::Hash};

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
    /// What a yes is bound to: the arguments, and the request that they were first shown
    /// for, so that a yes never counts for the same arguments another time.
    pub(crate) fn hash(&self, shown_for: RequestId) -> Result<Hash, Failure> {
        Hash::of(&(self, shown_for)).map_err(|error| Failure::internal("proposal.hash", error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::Currency;

    use super::*;

    #[test]
    fn a_yes_is_bound_to_every_argument_and_to_one_showing() {
        let amount = |minor| Money::new(minor, Currency::MXN).expect("an amount");
        let id = |text: &str| text.parse::<AccountId>().expect("an id");
        let proposal = |to, minor| {
            let (from, amount) = (id("ana-checking"), amount(minor));
            Proposal::Transfer { from, to: id(to), name: "Luis".into(), amount }
        };
        let request = |n| RequestId::from_bytes([n; 16]);
        let hash = |proposal: Proposal, n| proposal.hash(request(n)).expect("hashed");
        let shown = hash(proposal("luis-checking", 50_000), 1);
        assert_eq!(shown, hash(proposal("luis-checking", 50_000), 1));
        for other in [
            hash(proposal("luis-savings", 50_000), 1),
            hash(proposal("luis-checking", 50_001), 1),
            hash(proposal("luis-checking", 50_000), 2),
        ] {
            assert_ne!(shown, other);
        }
    }
}
