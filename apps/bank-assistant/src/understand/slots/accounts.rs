//! Which of one's own accounts: "de mi ahorro", "to savings".

use super::{
    super::{meaning::AccountKind, text::listed},
    Message,
};

const SAVINGS: &[&str] = &["ahorro", "ahorros", "ahorrito", "savings", "saving"];
const CHECKING: &str = "\
    cheques chequera debito nomina corriente checking debit payroll cheque";
const CREDIT: &[&str] = &["credito", "credit", "tdc"];
const OUT_OF: &str = "\
    de desde con usando del from using with";
const INTO: &str = "\
    a al en hacia para to into";
/// "cuenta de ahorro": that "de" names the account.
const HOLDERS: &[&str] = &["cuenta", "cuentas", "tarjeta", "account", "card"];
/// Words between a preposition and the kind of account.
const REACH: usize = 4;

/// The kind of account that a plain word names.
pub(in super::super) fn kind_of(word: &str) -> Option<AccountKind> {
    match word {
        _ if SAVINGS.contains(&word) => Some(AccountKind::Savings),
        _ if listed(CHECKING, word) => Some(AccountKind::Checking),
        _ if CREDIT.contains(&word) => Some(AccountKind::Credit),
        _ => None,
    }
}

/// The accounts that money leaves and enters; one that is only named counts as the first.
pub(super) fn read(message: &Message<'_>) -> (Option<AccountKind>, Option<AccountKind>) {
    let (mut from, mut to) = (None, None);
    for (i, token) in message.tokens.iter().enumerate() {
        let Some(kind) = kind_of(&token.plain) else { continue };
        if enters(message, i) {
            to = to.or(Some(kind));
        } else {
            from = from.or(Some(kind));
        }
    }
    (from, to)
}

fn enters(message: &Message<'_>, kind: usize) -> bool {
    for i in (kind.saturating_sub(REACH)..kind).rev() {
        let names = message.is_any(i, &["de"]) && i > 0 && message.is_any(i - 1, HOLDERS);
        if message.is_in(i, OUT_OF) && !names {
            return false;
        }
        if message.is_in(i, INTO) {
            return true;
        }
    }
    false
}
