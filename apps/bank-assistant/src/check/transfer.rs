use serde::{Deserialize, Serialize};
use serde_json::json;
use steadfast_bank::{AccountView, TransferRequest};
use steadfast_core::{Failure, Money};

use super::{Draft, Pending, Scene, Verdict, is_of, refused};
use crate::{
    proposal::Proposal,
    told::{AmountWrong, Asks, Told},
    understand::{AccountKind, Amount, Answer, Expecting, Matter, Recipient, Slots},
};

/// A transfer so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TransferDraft {
    /// How much.
    pub amount: Amount,
    /// To whom.
    pub to: Payee,
    /// From which own account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<AccountKind>,
}

/// Who shall be paid.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Payee {
    /// Not said.
    #[default]
    Missing,
    /// As written; to be found.
    Written(Recipient),
    /// An own account.
    Own(AccountKind),
    /// Somebody known.
    Known(Person),
    /// One of these.
    OneOf(Vec<Person>),
}

/// A contact, as found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Person {
    /// As the user calls them.
    pub name: String,
    /// Who it is for the bank.
    pub user: String,
}

impl From<&Slots> for TransferDraft {
    fn from(slots: &Slots) -> Self {
        let to = match (&slots.recipient, slots.to) {
            (Some(recipient), _) => Payee::Written(recipient.clone()),
            (None, Some(kind)) => Payee::Own(kind),
            (None, None) => Payee::Missing,
        };
        Self { amount: slots.amount, to, from: slots.from }
    }
}

impl TransferDraft {
    /// The draft with an answer in it; what does not fit leaves the question open.
    pub(crate) fn answered(mut self, answer: &Answer) -> Self {
        match answer {
            Answer::Amount(amount) => self.amount = *amount,
            Answer::Recipient(recipient) => self.to = Payee::Written(recipient.clone()),
            Answer::Account(kind) => self.from = Some(*kind),
            Answer::Choice(place) => {
                if let Payee::OneOf(people) = &self.to
                    && let Some(person) = people.get(place_of(*place))
                {
                    self.to = Payee::Known(person.clone());
                }
            }
            Answer::Words(words) => self.to = Payee::Written(Recipient::Words(words.clone())),
            Answer::Change(slots) => {
                if slots.amount != Amount::Missing {
                    self.amount = slots.amount;
                }
                match (&slots.recipient, slots.to) {
                    (Some(recipient), _) => self.to = Payee::Written(recipient.clone()),
                    (None, Some(kind)) => self.to = Payee::Own(kind),
                    (None, None) => {}
                }
                self.from = slots.from.or(self.from);
            }
            Answer::Product(_) | Answer::Quantity(_) | Answer::Confirmed(_) | Answer::Unclear => {}
        }
        self
    }
}

/// Places are counted from 1.
pub(super) fn place_of(choice: u32) -> usize {
    usize::try_from(choice).unwrap_or(usize::MAX).saturating_sub(1)
}

impl Scene<'_> {
    /// The next question about a transfer, or the proposal.
    pub(super) async fn transfer(&self, mut draft: TransferDraft) -> Result<Verdict, Failure> {
        if let Some(verdict) = self.find_payee(&mut draft).await? {
            return Ok(verdict);
        }
        let amount = match draft.amount {
            Amount::Exact(amount) => amount,
            Amount::Missing => return Ok(ask_amount(draft, None)),
            Amount::Ambiguous { reason } => return Ok(ask_amount(draft, Some(AmountWrong::Unclear(reason)))),
            Amount::NotPositive => return Ok(ask_amount(draft, Some(AmountWrong::NotPositive))),
        };
        let accounts = self.bank.accounts(&self.principal, &self.principal.user).await?;
        let Some(from) = paying(&accounts, amount, draft.from) else {
            return Ok(ask_amount(draft, Some(AmountWrong::NoAccount)));
        };
        let (to, name) = match &draft.to {
            Payee::Known(person) => (person.user.clone(), person.name.clone()),
            Payee::Own(kind) => {
                let own = accounts.iter().find(|view| is_of(&view.name, *kind) && fits(view, amount));
                let Some(own) = own else {
                    return Ok(Verdict::Drop(refused("account.not_found", json!(null), None)));
                };
                (own.id.to_string(), own.name.clone())
            }
            Payee::Missing | Payee::Written(_) | Payee::OneOf(_) => {
                return Err(Failure::internal("transfer.payee", "the payee was not found and not asked for"));
            }
        };
        let request = TransferRequest { to, from: Some(from.id.clone()), amount, memo: None };
        let transfer = match self.bank.transfer_op(&self.principal, request).await {
            Ok(transfer) => transfer,
            Err(failure) if failure.retryable => return Err(failure),
            Err(failure) => return Ok(Verdict::Drop(refused(&failure.code, json!(null), None))),
        };
        if transfer.from == transfer.to {
            return Ok(Verdict::Drop(refused("transfer.same_account", json!(null), None)));
        }
        let (from_id, to) = (transfer.from, transfer.to);
        let proposal = Proposal::Transfer { from: from_id, to, name, amount };
        if from.available.minor() < amount.minor() {
            let details = json!({ "available": from.available });
            return Ok(Verdict::Drop(refused("insufficient_funds", details, Some(proposal))));
        }
        let pending = Pending {
            draft: Draft::Transfer(draft),
            expecting: Expecting::Confirmation(Matter::Transfer),
            proposal: Some(proposal),
        };
        Ok(Verdict::Propose(Box::new(pending), self.expires()))
    }

    /// Turns what was written into somebody known, or says what to ask or answer.
    async fn find_payee(&self, draft: &mut TransferDraft) -> Result<Option<Verdict>, Failure> {
        let words = match &draft.to {
            Payee::Known(_) | Payee::Own(_) => return Ok(None),
            Payee::Missing => return Ok(Some(ask_recipient(draft.clone(), None, &[]))),
            Payee::OneOf(people) => {
                let people = people.clone();
                return Ok(Some(ask_recipient(draft.clone(), None, &people)));
            }
            Payee::Written(Recipient::Clabe { .. }) => {
                return Ok(Some(Verdict::Drop(refused("transfer.clabe_unsupported", json!(null), None))));
            }
            Payee::Written(Recipient::Words(words)) => words.clone(),
        };
        let found = self.bank.find_contacts(&self.principal, &words).await?;
        let mut people: Vec<Person> = found
            .into_iter()
            .map(|contact| Person { name: contact.name.to_string(), user: contact.user.to_string() })
            .collect();
        match people.len() {
            1 => {
                draft.to = people.pop().map_or(Payee::Missing, Payee::Known);
                Ok(None)
            }
            0 => {
                draft.to = Payee::Missing;
                Ok(Some(ask_recipient(draft.clone(), Some(words), &[])))
            }
            _ => {
                draft.to = Payee::OneOf(people.clone());
                Ok(Some(ask_recipient(draft.clone(), None, &people)))
            }
        }
    }
}

fn fits(view: &AccountView, amount: Money) -> bool {
    view.balance.currency() == amount.currency()
}

/// The account that pays: of the kind that was named, else the first checking account.
fn paying(accounts: &[AccountView], amount: Money, kind: Option<AccountKind>) -> Option<&AccountView> {
    let kind = kind.unwrap_or(AccountKind::Checking);
    accounts.iter().find(|view| fits(view, amount) && is_of(&view.name, kind))
}

fn ask_amount(draft: TransferDraft, why: Option<AmountWrong>) -> Verdict {
    let draft = TransferDraft { amount: Amount::Missing, ..draft };
    let told = Told::AskAmount { why, asks: Asks::Amount };
    ask(told, draft, Expecting::Amount)
}

fn ask_recipient(draft: TransferDraft, unknown: Option<String>, people: &[Person]) -> Verdict {
    let choices: Vec<String> = people.iter().map(|person| person.name.clone()).collect();
    let expecting = match u32::try_from(people.len()) {
        Ok(count) if count > 1 => Expecting::Choice(count),
        _ => Expecting::Recipient,
    };
    ask(Told::AskRecipient { unknown, choices, asks: Asks::Recipient }, draft, expecting)
}

fn ask(told: Told, draft: TransferDraft, expecting: Expecting) -> Verdict {
    Verdict::Ask(told, Box::new(Pending { draft: Draft::Transfer(draft), expecting, proposal: None }))
}
