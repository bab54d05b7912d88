use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::json;
use steadfast_bank::ProductId;
use steadfast_core::{Failure, Money};

use super::{Draft, Pending, Scene, Verdict, is_of, refused, transfer::place_of};
use crate::{
    proposal::Proposal,
    told::{Asks, ProductLine, Told},
    understand::{AccountKind, Answer, Expecting, Matter, Quantity, Slots},
};

/// A purchase so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PurchaseDraft {
    /// What.
    pub product: Wanted,
    /// How many.
    pub quantity: Quantity,
    /// From which own account it is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<AccountKind>,
}

/// What shall be bought.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    /// Not said.
    #[default]
    Missing,
    /// As written; to be found.
    Written(String),
    /// This one.
    Known(ProductId),
    /// One of these.
    OneOf(Vec<ProductLine>),
}

impl From<&Slots> for PurchaseDraft {
    fn from(slots: &Slots) -> Self {
        let product = slots.product.clone().map_or(Wanted::Missing, Wanted::Written);
        Self { product, quantity: slots.quantity, from: slots.from }
    }
}

impl PurchaseDraft {
    /// The draft with an answer in it; what does not fit leaves the question open.
    pub(crate) fn answered(mut self, answer: &Answer) -> Self {
        match answer {
            Answer::Product(words) | Answer::Words(words) => self.product = Wanted::Written(words.clone()),
            Answer::Quantity(quantity) => self.quantity = *quantity,
            Answer::Account(kind) => self.from = Some(*kind),
            Answer::Choice(place) => {
                if let Wanted::OneOf(lines) = &self.product
                    && let Some(line) = lines.get(place_of(*place))
                {
                    self.product = Wanted::Known(line.id.clone());
                }
            }
            Answer::Change(slots) => {
                if let Some(words) = &slots.product {
                    self.product = Wanted::Written(words.clone());
                    self.quantity = slots.quantity;
                } else if slots.quantity != Quantity::Missing {
                    self.quantity = slots.quantity;
                }
                self.from = slots.from.or(self.from);
            }
            Answer::Amount(_) | Answer::Recipient(_) | Answer::Confirmed(_) | Answer::Unclear => {}
        }
        self
    }
}

impl Scene<'_> {
    /// The next question about a purchase, or the proposal.
    pub(super) async fn purchase(&self, mut draft: PurchaseDraft) -> Result<Verdict, Failure> {
        let product = match self.find_product(&mut draft).await? {
            Ok(product) => product,
            Err(verdict) => return Ok(verdict),
        };
        let quantity = match draft.quantity {
            Quantity::Missing => NonZeroU32::MIN,
            Quantity::Exact(quantity) => quantity,
            Quantity::Unclear => {
                draft.quantity = Quantity::Missing;
                let told = Told::AskQuantity { product, asks: Asks::Quantity };
                return Ok(ask(told, draft, Expecting::Quantity));
            }
        };
        if product.stock < quantity.get() {
            let details = json!({ "stock": product.stock, "product": product.name });
            return Ok(Verdict::Drop(refused("out_of_stock", details, None)));
        }
        let total = product.price.minor().checked_mul(i64::from(quantity.get()));
        let total = total.and_then(|minor| Money::new(minor, product.price.currency()).ok());
        let Some(total) = total else {
            return Ok(Verdict::Drop(refused("money.out_of_range", json!(null), None)));
        };
        let accounts = self.bank.accounts(&self.principal, &self.principal.user).await?;
        let kind = draft.from.unwrap_or(AccountKind::Checking);
        let fits = |view: &&steadfast_bank::AccountView| {
            view.balance.currency() == total.currency() && is_of(&view.name, kind)
        };
        let Some(from) = accounts.iter().find(fits) else {
            return Ok(Verdict::Drop(refused("account.not_found", json!(null), None)));
        };
        let proposal = Proposal::Purchase {
            product: product.id,
            name: product.name,
            quantity: quantity.get(),
            total,
            from: from.id.clone(),
        };
        let draft = Draft::Purchase(draft);
        let pending =
            Pending { draft, expecting: Expecting::Confirmation(Matter::Purchase), proposal: Some(proposal) };
        Ok(Verdict::Propose(Box::new(pending), self.expires()))
    }

    async fn find_product(&self, draft: &mut PurchaseDraft) -> Result<Result<ProductLine, Verdict>, Failure> {
        let words = match &draft.product {
            Wanted::Known(id) => return self.line(id).await.map(Ok),
            Wanted::Missing => return Ok(Err(ask_product(draft.clone(), None, Vec::new()))),
            Wanted::OneOf(lines) => {
                let lines = lines.clone();
                return Ok(Err(ask_product(draft.clone(), None, lines)));
            }
            Wanted::Written(words) => words.clone(),
        };
        let mut found = self.find_products(&words).await?;
        match found.len() {
            1 => {
                let line = found.remove(0);
                draft.product = Wanted::Known(line.id.clone());
                Ok(Ok(line))
            }
            0 => {
                draft.product = Wanted::Missing;
                Ok(Err(ask_product(draft.clone(), Some(words), Vec::new())))
            }
            _ => {
                draft.product = Wanted::OneOf(found.clone());
                Ok(Err(ask_product(draft.clone(), None, found)))
            }
        }
    }
}

fn ask_product(draft: PurchaseDraft, unknown: Option<String>, choices: Vec<ProductLine>) -> Verdict {
    let expecting = match u32::try_from(choices.len()) {
        Ok(count) if count > 1 => Expecting::Choice(count),
        _ => Expecting::Product,
    };
    ask(Told::AskProduct { unknown, choices, asks: Asks::Product }, draft, expecting)
}

fn ask(told: Told, draft: PurchaseDraft, expecting: Expecting) -> Verdict {
    Verdict::Ask(told, Box::new(Pending { draft: Draft::Purchase(draft), expecting, proposal: None }))
}
