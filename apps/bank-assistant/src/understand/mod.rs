//! What a message means: from a person's words to an intent and its slots.
//!
//! [`Understand`] is the contract; [`Rules`] the deterministic implementation, in the order a
//! message travels: `text` cuts it into tokens, `language` names its language, `amount` reads
//! money, `intents` scores the tables (`tables/es.txt`, `tables/en.txt`, in the notation of
//! `pattern`) and leans on `examples`, `slots` takes out who, what and which, and `answer` relates it to the open
//! question. [`evaluate`](evaluate()) measures any implementation on data.
//!
//! Nothing here is guessed: what can be read in two ways is a typed question for the workflow
//! ([`Amount::Ambiguous`], [`Quantity::Unclear`], [`Answer::Unclear`]). Nothing here knows
//! accounts, people or products either: slots are text.

mod amount;
mod answer;
mod evaluate;
mod examples;
mod intents;
mod language;
mod meaning;
mod pattern;
mod rules;
mod slots;
mod text;

use futures::future::BoxFuture;
use steadfast_core::Failure;

pub(crate) use self::text::plain;
pub use self::{
    evaluate::{BadRow, Miss, Report, Tally, evaluate},
    meaning::{
        AccountKind, Amount, Answer, Context, Expecting, Intent, Language, Matter, Quantity, Recipient,
        Slots, Unclear, Understood,
    },
    rules::{Rules, TEXT_CHARS_MAX},
};

/// Understands messages.
///
/// An implementation never acts and never guesses: an amount is either certain or typed as not
/// certain. It may fail (a model may be away) without anything having happened; dropping the
/// future half-way is safe.
pub trait Understand: Send + Sync {
    /// What the text means in this context.
    fn understand<'a>(
        &'a self,
        text: &'a str,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Understood, Failure>>;
}

#[cfg(test)]
mod tests;
