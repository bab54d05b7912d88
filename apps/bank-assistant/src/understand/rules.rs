//! The deterministic understanding: tables and grammars, no model, no IO.

use futures::future::{BoxFuture, FutureExt, ready};
use steadfast_core::Failure;

use super::{
    Understand, amount, answer,
    intents::{Guess, Tables},
    language,
    meaning::{Context, Language, Understood},
    pattern::Fact,
    slots::{self, Message},
    text::{self, Token},
};

/// Characters of a message, at most. Nobody asks a bank for anything in more.
pub const TEXT_CHARS_MAX: usize = 2_000;

/// Understands by rules.
pub struct Rules {
    es: Tables,
    en: Tables,
}

impl Default for Rules {
    fn default() -> Self {
        Self { es: Tables::of(Language::Es), en: Tables::of(Language::En) }
    }
}

impl Rules {
    /// Reads the tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the text means. The same text in the same context always means the same.
    pub fn read(&self, text: &str, context: &Context) -> Result<Understood, Failure> {
        let length = text.chars().count();
        if length > TEXT_CHARS_MAX {
            return Err(Failure::refused(
                "assistant.text_too_long",
                format!("text has {length} characters and may have {TEXT_CHARS_MAX}: say it in fewer words"),
            ));
        }
        let tokens = text::tokens(text);
        let language = language::detect(text, &tokens, context.language);
        let found = amount::find(&tokens, language, context.currency);
        let mut facts = Vec::new();
        facts.extend(found.marked.then_some(Fact::Money));
        facts.extend(slots::clabe(&tokens).map(|_| Fact::Clabe));
        let guess = self.guess(&tokens, language, &facts);
        let message = Message { text, tokens: &tokens, language, found: &found };
        let slots = slots::read(&message, guess.intent);
        let answer = context.expecting.and_then(|asked| answer::read(&message, asked, guess, &slots));
        Ok(Understood { language, intent: guess.intent, slots, answer })
    }

    /// By the tables of its language; by the other's when those find nothing: "refund" in a
    /// Spanish session.
    fn guess(&self, tokens: &[Token], language: Language, facts: &[Fact]) -> Guess {
        let (own, other) = match language {
            Language::Es => (&self.es, &self.en),
            Language::En => (&self.en, &self.es),
        };
        let guess = own.guess(tokens, facts);
        if guess.score > 0 {
            return guess;
        }
        Some(other.guess(tokens, facts)).filter(|other| other.score > 0).unwrap_or(guess)
    }
}

impl Understand for Rules {
    fn understand<'a>(
        &'a self,
        text: &'a str,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Understood, Failure>> {
        ready(self.read(text, context)).boxed()
    }
}
