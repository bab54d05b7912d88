//! Orders by number, and how many movements.

use std::num::NonZeroU32;

use super::{super::amount, super::text::Kind, Message};

const ORDERS: &str = "\
    pedido orden order folio guia numero number compra purchase # paquete package referencia tracking no";
const MOVEMENTS: &str = "\
    movimientos transacciones operaciones compras cargos pagos depositos retiros movements transactions \
    purchases charges payments deposits withdrawals";
const LAST: &[&str] = &["ultimos", "ultimas", "last", "latest", "recent"];
/// Words between "pedido" and its number: "pedido número #".
const REACH: usize = 3;

/// The first thing with a digit after a word for an order: `A-3321`, `45821`.
pub(super) fn order(message: &Message<'_>) -> Option<String> {
    let named = (0..message.tokens.len()).filter(|i| message.is_in(*i, ORDERS));
    for name in named {
        for start in name + 1..=(name + REACH).min(message.tokens.len().saturating_sub(1)) {
            let mut end = start + 1;
            while message
                .tokens
                .get(end)
                .is_some_and(|t| t.glued && (t.kind != Kind::Sign || t.is_any(&["-", "_", "/"])))
            {
                end += 1;
            }
            let written = message.written(start, end).trim_end_matches(['-', '_', '/']);
            let begins = !message.tokens[start].glued || message.is_any(start - 1, &["#"]);
            if begins
                && message.tokens[start].kind != Kind::Sign
                && written.bytes().any(|b| b.is_ascii_digit())
            {
                return Some(written.to_owned());
            }
        }
    }
    None
}

/// "últimos 20", "5 movimientos".
pub(super) fn count(message: &Message<'_>) -> Option<NonZeroU32> {
    (0..message.tokens.len()).find_map(|i| {
        let (end, count) = amount::count_at(message.tokens, i, message.language)?;
        let named = message.is_in(end, MOVEMENTS) || i > 0 && message.is_any(i - 1, LAST);
        if named { count.and_then(NonZeroU32::new) } else { None }
    })
}
