//! Which language a message is in.

use super::{
    amount,
    meaning::Language,
    text::{Kind, Token},
};

/// Small words that only one of the two has.
const ES: &str = "\
    el la los las de del que y en un una mi mis tu su por para con al lo le se es esta cuanto cuanta \
    quiero hola buenas buenos si gracias favor porfa donde cuando como quien cuenta saldo tarjeta dame \
    mil cien manda millon millones dolares ver ya pedido ayuda necesito puedo hay tengo me dinero mejor \
    pagar paga compra segundo primero cancela va dale sale claro";
const EN: &str = "\
    the my is are to of and for i you what how where when please want need show send pay card account \
    money balance hello hi yes order with from it this that can do in have buy cancel help on second \
    first one ones go ahead not never get was am good morning thanks at someone report an hundred \
    thousand million half five dollars any there has";

/// The language of a text, or `session` where it does not tell.
pub(super) fn detect(text: &str, tokens: &[Token], session: Language) -> Language {
    let words = || tokens.iter().filter(|token| token.kind == Kind::Word);
    let count = |list: &str| words().filter(|token| token.is_in(list)).count();
    let numbers = |language, other| {
        let only = |word: &str| amount::is_number(word, language) && !amount::is_number(word, other);
        words().filter(|token| only(&token.plain)).count()
    };
    let accents =
        usize::from(text.contains(['¿', '¡', 'ñ', 'á', 'é', 'í', 'ó', 'ú', 'Ñ', 'Á', 'É', 'Í', 'Ó', 'Ú']));
    // An accent may be in a name ("send 500 to María"), so it weighs one word.
    let es = count(ES) + accents + numbers(Language::Es, Language::En);
    let en = count(EN) + numbers(Language::En, Language::Es);
    match es.cmp(&en) {
        std::cmp::Ordering::Greater => Language::Es,
        std::cmp::Ordering::Less => Language::En,
        std::cmp::Ordering::Equal => session,
    }
}
