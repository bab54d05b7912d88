//! Short answers to an open question. An answer fills what was asked; a request of its own
//! replaces it, and then there is no answer here.

use super::{
    amount,
    intents::Guess,
    meaning::{Amount, Answer, Expecting, Intent, Matter, Quantity, Slots},
    slots::{self, Message},
    text::Kind,
};

/// From this score on, a message is a request of its own.
const REQUEST: i32 = 6;
/// From here on a message says something of its own, if only "hello" or "no".
const CLEAR: i32 = 4;
/// A yes moves money: "sí" and what usually follows it, not any sentence that begins so.
const YES: i32 = 7;
/// An answer is as long as this, at most, when it also looks like a request.
const SHORT_WORDS: usize = 4;

/// Words by which people refer to a place in a list.
const PLACES: &[(&str, u32)] = &[
    ("primero", 1),
    ("primera", 1),
    ("primer", 1),
    ("uno", 1),
    ("first", 1),
    ("one", 1),
    ("segundo", 2),
    ("segunda", 2),
    ("second", 2),
    ("tercero", 3),
    ("tercera", 3),
    ("tercer", 3),
    ("third", 3),
    ("cuarto", 4),
    ("cuarta", 4),
    ("fourth", 4),
    ("quinto", 5),
    ("quinta", 5),
    ("fifth", 5),
    ("sexto", 6),
    ("sexta", 6),
    ("sixth", 6),
];
const LAST: &[&str] = &["ultimo", "ultima", "last"];
/// What "cancela" may be followed by and still mean what was just proposed.
const PENDING: &str = "\
    la el lo esto eso esta operacion todo por favor porfa porfavor mejor ya gracias it this that please the operation everything thanks";
/// What is named after these stands in for what was proposed.
const INSTEAD: &str = "\
    mejor prefiero cambia cambialo cambiale instead rather better actually change";
/// What stands around a new quantity and names no product.
const LIGHT: &str = "make it be them si no yes pero but solo only sean son";
/// Before or after the words of an answer, and no part of it.
const FILLERS: &str = "\
    el la los las lo the quiero quisiera prefiero mejor dame es de del mi my i want por favor porfa \
    please que sea una un give me";

/// What the message says to the question, if it is an answer at all.
pub(super) fn read(message: &Message<'_>, asked: Expecting, guess: Guess, slots: &Slots) -> Option<Answer> {
    let request = !guess.intent.is_small_talk() && guess.score >= REQUEST;
    let refused = guess.intent == Intent::Deny && guess.score >= CLEAR;
    let words = message.tokens.iter().filter(|token| token.kind != Kind::Sign).count();
    if words == 0 {
        return Some(Answer::Unclear);
    }
    match asked {
        Expecting::Confirmation(matter) => confirmation(message, matter, guess, request),
        Expecting::Choice(offered) => match place(message, offered) {
            Some(answer) if !request || words <= SHORT_WORDS => Some(answer),
            _ if request || guess.score >= CLEAR => None,
            _ => Some(named(message).map_or(Answer::Unclear, Answer::Words)),
        },
        Expecting::Amount => amount(message, guess, request && other_words(message) > 2),
        Expecting::Quantity if request && words > SHORT_WORDS => None,
        Expecting::Quantity => quantity(message, guess),
        Expecting::Recipient => recipient(message, guess, request, slots),
        _ if refused || request && words > SHORT_WORDS => None,
        Expecting::Account => account(message, guess),
        Expecting::Product if request || guess.score >= REQUEST => None,
        Expecting::Product => Some(slots::product(message).map_or(Answer::Unclear, Answer::Product)),
    }
}

/// Yes, no, or something else instead. A yes with a number or a question mark in it is no
/// plain yes.
fn confirmation(message: &Message<'_>, matter: Matter, guess: Guess, request: bool) -> Option<Answer> {
    if drops(message) {
        return Some(Answer::Confirmed(false));
    }
    if request {
        return None;
    }
    if let Some(slots) = change(message, matter, guess) {
        return Some(Answer::Change(Box::new(slots)));
    }
    let asks = message.tokens.iter().any(|token| token.is_any(&["?", "¿"]));
    match guess.intent {
        Intent::Confirm if !asks && guess.score >= YES => Some(Answer::Confirmed(true)),
        Intent::Deny if !asks && guess.score >= CLEAR => Some(Answer::Confirmed(false)),
        Intent::OutOfScope if guess.score >= CLEAR => None,
        Intent::Greeting | Intent::Help => None,
        _ => Some(Answer::Unclear),
    }
}

/// What shall be different about what was proposed.
fn change(message: &Message<'_>, matter: Matter, guess: Guess) -> Option<Slots> {
    match matter {
        Matter::Transfer => {
            let slots = slots::read(message, Intent::Transfer);
            let names = slots.recipient.is_some() || slots.to.is_some() || slots.from.is_some();
            // "Espera tantito" is a no, and no other amount.
            let no = guess.intent == Intent::Deny && guess.score >= CLEAR;
            let amount = slots.amount != Amount::Missing && (!no || slots.amount.exact().is_some());
            (names || amount).then_some(slots)
        }
        Matter::Purchase => {
            let mut slots = slots::read(message, Intent::BuyProduct);
            let first = message.tokens.iter().find(|token| token.kind == Kind::Word);
            let instead = first.is_some_and(|first| first.is_in(INSTEAD));
            let named = message.tokens.iter().enumerate().any(|(i, token)| {
                let light = token.is_in(FILLERS) || token.is_in(INSTEAD) || token.is_in(LIGHT);
                token.kind == Kind::Word && !light && !number(message, i)
            });
            if !named || guess.intent != Intent::BuyProduct && !instead {
                slots.product = None;
            }
            if slots.product.is_none() {
                slots.quantity = match counts(message).as_slice() {
                    [] => Quantity::Missing,
                    [count] => slots::quantity(*count),
                    _ => Quantity::Unclear,
                };
            }
            let names = slots.product.is_some() || slots.from.is_some();
            (names || slots.quantity != Quantity::Missing).then_some(slots)
        }
    }
}

/// "Cancela la operación", "cancel it please": to an open question that is this operation, not an
/// older one.
fn drops(message: &Message<'_>) -> bool {
    let mut words = message.tokens.iter().filter(|token| token.kind == Kind::Word);
    words.next().is_some_and(|first| first.plain.starts_with("cancel"))
        && words.all(|word| word.is_in(PENDING))
}

/// Words that are neither the amount nor filler.
fn other_words(message: &Message<'_>) -> usize {
    let word = |i: usize| message.tokens[i].kind == Kind::Word && !message.tokens[i].is_in(FILLERS);
    (0..message.tokens.len()).filter(|i| word(*i) && !number(message, *i)).count()
}

fn number(message: &Message<'_>, i: usize) -> bool {
    message.found.spans.iter().any(|(start, end)| (*start..*end).contains(&i))
}

fn amount(message: &Message<'_>, guess: Guess, request: bool) -> Option<Answer> {
    match message.found.amount {
        _ if request => None,
        Amount::Missing if guess.score >= CLEAR => None,
        Amount::Missing => Some(Answer::Unclear),
        amount => Some(Answer::Amount(amount)),
    }
}

fn quantity(message: &Message<'_>, guess: Guess) -> Option<Answer> {
    match counts(message).as_slice() {
        [count] => Some(Answer::Quantity(slots::quantity(*count))),
        [] if guess.score >= CLEAR => None,
        _ => Some(Answer::Quantity(Quantity::Unclear)),
    }
}

/// The numbers without anything that makes money of them.
fn counts(message: &Message<'_>) -> Vec<Option<u32>> {
    let mut counts = Vec::new();
    let mut i = 0;
    while i < message.tokens.len() {
        match amount::count_at(message.tokens, i, message.language) {
            Some((end, count)) => {
                counts.push(count);
                i = end;
            }
            None => i += 1,
        }
    }
    counts
}

/// "transfiérelo a luis" still answers "to whom?"; "transfer 300 to Luis" is a new request.
fn recipient(message: &Message<'_>, guess: Guess, request: bool, slots: &Slots) -> Option<Answer> {
    let complete = slots.amount != Amount::Missing;
    match guess.intent {
        Intent::Deny | Intent::Confirm | Intent::Greeting | Intent::Help | Intent::OutOfScope
            if guess.score >= CLEAR =>
        {
            None
        }
        Intent::Transfer if request && complete => None,
        intent if request && intent != Intent::Transfer => None,
        _ => Some(slots::answered_recipient(message).map_or(Answer::Unclear, Answer::Recipient)),
    }
}

fn account(message: &Message<'_>, guess: Guess) -> Option<Answer> {
    let id = message.tokens.iter().any(|token| token.is_any(&["-", "_"]) && token.glued);
    let mut kinds: Vec<_> = message.tokens.iter().filter_map(|token| slots::kind_of(&token.plain)).collect();
    kinds.dedup();
    match kinds.as_slice() {
        _ if id => named(message).map(Answer::Words),
        [kind] => Some(Answer::Account(*kind)),
        [] if guess.score >= CLEAR => None,
        [] => Some(named(message).map_or(Answer::Unclear, Answer::Words)),
        _ => Some(Answer::Unclear),
    }
}

/// "el segundo", "opción 2", "the last one". `None` when no place is named.
fn place(message: &Message<'_>, offered: u32) -> Option<Answer> {
    let mut places = Vec::new();
    for (i, token) in message.tokens.iter().enumerate() {
        // "dame un segundo" asks for time; "the second one" names one place.
        let article = i > 0 && message.tokens[i - 1].is_any(&["un", "a"]);
        let noun = token.is("one") && i > 0 && !message.tokens[i - 1].is_any(&["option", "number"]);
        let place = PLACES.iter().find(|(word, _)| token.is(word)).map(|(_, place)| *place);
        if LAST.iter().any(|last| token.is(last)) {
            places.push(offered);
        } else if let Some(place) = place.filter(|_| !article && (!noun || places.is_empty())) {
            places.push(place);
        } else if let Some((_, count)) =
            amount::count_at(message.tokens, i, message.language).filter(|_| place.is_none())
        {
            places.push(count.unwrap_or(0));
        }
    }
    places.dedup();
    match places.as_slice() {
        [] => None,
        [place] if (1..=offered).contains(place) => Some(Answer::Choice(*place)),
        // "iPhone 15" is a name with a number in it, not the fifteenth.
        [_] if other_words(message) > 0 => None,
        _ => Some(Answer::Unclear),
    }
}

/// The words without what surrounds them.
fn named(message: &Message<'_>) -> Option<String> {
    let filler = |i: &usize| message.tokens[*i].kind == Kind::Sign || message.tokens[*i].is_in(FILLERS);
    let start = (0..message.tokens.len()).find(|i| !filler(i))?;
    let end = (start..message.tokens.len()).rev().find(|i| !filler(i))?;
    Some(message.written(start, end + 1).to_owned())
}
