//! What a message says besides its intent: who, what, how many, which.

mod accounts;
mod products;
mod recipients;
mod references;

use super::{
    amount::Found,
    meaning::{Intent, Language, Recipient, Slots},
    text::Token,
};

pub(super) use self::{accounts::kind_of, products::quantity, recipients::clabe};

/// A message cut into pieces, with what is known of it.
pub(super) struct Message<'m> {
    pub(super) text: &'m str,
    pub(super) tokens: &'m [Token],
    pub(super) language: Language,
    pub(super) found: &'m Found,
}

impl<'m> Message<'m> {
    /// What was written from one token up to another.
    pub(super) fn written(&self, from: usize, to: usize) -> &'m str {
        match (self.tokens.get(from), to.checked_sub(1).and_then(|last| self.tokens.get(last))) {
            (Some(first), Some(last)) if first.start < last.end => &self.text[first.start..last.end],
            _ => "",
        }
    }

    /// Does a number begin at the token?
    fn number_at(&self, i: usize) -> bool {
        self.found.spans.iter().any(|(start, _)| *start == i)
    }
    /// Is the token part of a number?
    fn in_number(&self, i: usize) -> bool {
        self.found.spans.iter().any(|(start, end)| (*start..*end).contains(&i))
    }
    fn is_in(&self, i: usize, list: &str) -> bool {
        self.tokens.get(i).is_some_and(|token| token.is_in(list))
    }
    fn is_any(&self, i: usize, words: &[&str]) -> bool {
        self.tokens.get(i).is_some_and(|token| token.is_any(words))
    }
}

/// The words for a product, in a message that is nothing else.
pub(super) fn product(message: &Message<'_>) -> Option<String> {
    products::read(message).0
}

/// Who an answer names: after "a" or "to" if it says so, else all of it.
pub(super) fn answered_recipient(message: &Message<'_>) -> Option<Recipient> {
    recipients::read(message).or_else(|| recipients::words_as_recipient(message))
}

/// Everything a message of that intent says.
pub(super) fn read(message: &Message<'_>, intent: Intent) -> Slots {
    let mut slots = Slots { amount: message.found.amount, ..Slots::default() };
    (slots.from, slots.to) = accounts::read(message);
    match intent {
        Intent::Transfer => slots.recipient = recipients::read(message),
        Intent::SearchProducts | Intent::CheckStock | Intent::BuyProduct => {
            (slots.product, slots.quantity) = products::read(message);
        }
        Intent::OrderStatus | Intent::RefundCancel => slots.order = references::order(message),
        Intent::ListTransactions => slots.count = references::count(message),
        Intent::CheckBalance
        | Intent::PayService
        | Intent::BlockCard
        | Intent::ReportFraud
        | Intent::ChangePin
        | Intent::HumanAgent
        | Intent::Greeting
        | Intent::Help
        | Intent::Confirm
        | Intent::Deny
        | Intent::OutOfScope => {}
    }
    slots
}
