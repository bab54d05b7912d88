//! How well messages are understood, measured on rows with known meanings.
//!
//! Rows are JSON lines of two kinds. `{text, intent, slots?}` is an utterance; its slots may be
//! `amount_minor`, `currency`, `recipient`, `clabe`. `{text, amount_minor, currency}` is an
//! amount; `null` means that asking is right. Both may carry `language`, the session's.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use steadfast_core::Failure;

use super::{
    Understand,
    meaning::{Amount, Context, Intent, Language, Recipient, Understood},
    text::plain,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    text: String,
    intent: Option<Intent>,
    slots: Option<Expected>,
    amount_minor: Option<i64>,
    currency: Option<String>,
    #[serde(default)]
    language: Language,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Expected {
    amount_minor: Option<i64>,
    currency: Option<String>,
    recipient: Option<String>,
    clabe: Option<String>,
}

/// Why a row was not measured.
#[derive(Debug)]
pub enum BadRow {
    /// The line with this number is no row.
    Unreadable(usize, serde_json::Error),
    /// Understanding the line with this number failed.
    Failed(usize, Failure),
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(line, why) => write!(f, "line {line} is not a row of the data: {why}"),
            Self::Failed(line, why) => write!(f, "line {line} could not be understood: {why}"),
        }
    }
}
impl std::error::Error for BadRow {}

/// How many of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Right.
    pub right: u32,
    /// All.
    pub of: u32,
}

impl Tally {
    fn count(&mut self, right: bool) {
        self.of += 1;
        self.right += u32::from(right);
    }
    /// Right ones in a thousand, rounded down; a thousand of none.
    pub fn per_mille(self) -> u32 {
        (self.right * 1_000).checked_div(self.of).unwrap_or(1_000)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mille = self.per_mille();
        write!(f, "{} of {} ({}.{} %)", self.right, self.of, mille / 10, mille % 10)
    }
}

/// One row that was understood differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// The text.
    pub text: String,
    /// What it means.
    pub expected: String,
    /// What was understood.
    pub got: String,
}

/// The measurement.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Intents, all together.
    pub intents: Tally,
    /// Intents, one by one.
    pub by_intent: BTreeMap<Intent, Tally>,
    /// Expected, understood, how often; only where they differ.
    pub confusion: BTreeMap<Intent, BTreeMap<Intent, u32>>,
    /// Amounts that are certain, and were read so.
    pub amounts_read: Tally,
    /// Amounts that are not certain, and were asked about.
    pub amounts_asked: Tally,
    /// Amounts read as another amount, or read where asking was right. Never acceptable.
    pub wrong_amounts: Vec<Miss>,
    /// Amounts asked about although they were certain: a nuisance.
    pub needless_questions: Vec<Miss>,
    /// Amounts of utterances.
    pub slot_amounts: Tally,
    /// Recipients and CLABEs of utterances.
    pub slot_recipients: Tally,
    /// Utterances understood differently.
    pub misses: Vec<Miss>,
}

/// Measures on JSON lines. `context` is what every row is read in, but for its language.
pub async fn evaluate(understand: &dyn Understand, rows: &str, context: &Context) -> Result<Report, BadRow> {
    let mut report = Report::default();
    for (n, line) in rows.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row: Row = serde_json::from_str(line).map_err(|why| BadRow::Unreadable(n + 1, why))?;
        let context = Context { language: row.language, ..*context };
        let got =
            understand.understand(&row.text, &context).await.map_err(|why| BadRow::Failed(n + 1, why))?;
        match row.intent {
            Some(intent) => report.utterance(&row, intent, &got),
            None => report.amount(&row, &got),
        }
    }
    Ok(report)
}

impl Report {
    fn utterance(&mut self, row: &Row, expected: Intent, got: &Understood) {
        let right = got.intent == expected;
        self.intents.count(right);
        self.by_intent.entry(expected).or_default().count(right);
        if !right {
            *self.confusion.entry(expected).or_default().entry(got.intent).or_default() += 1;
            self.misses.push(miss(row, expected.name(), got.intent.name()));
        }
        let Some(slots) = &row.slots else { return };
        if slots.amount_minor.is_some() {
            let (expected, read) =
                (money(slots.amount_minor, slots.currency.as_deref()), shown(got.slots.amount));
            self.slot_amounts.count(expected == read);
            if read.is_some() && expected != read {
                self.wrong_amounts.push(miss(row, expected, read));
            }
        }
        let (expected, fits) = match (&slots.clabe, &slots.recipient) {
            (Some(clabe), _) => (
                clabe,
                matches!(&got.slots.recipient, Some(Recipient::Clabe { digits, .. }) if digits == clabe),
            ),
            (None, Some(words)) => {
                (words, got.slots.recipient.as_ref().is_some_and(|read| plain(read.as_str()) == plain(words)))
            }
            (None, None) => return,
        };
        self.slot_recipients.count(fits);
        if !fits {
            let read = got.slots.recipient.as_ref().map_or("nobody", Recipient::as_str);
            self.misses.push(miss(row, expected.clone(), read));
        }
    }

    fn amount(&mut self, row: &Row, got: &Understood) {
        let (expected, read) = (money(row.amount_minor, row.currency.as_deref()), shown(got.slots.amount));
        match (&expected, &read) {
            (None, None) => self.amounts_asked.count(true),
            (None, Some(_)) => self.amounts_asked.count(false),
            (Some(expected), read) => self.amounts_read.count(read.as_ref() == Some(expected)),
        }
        if read.is_some() && read != expected {
            self.wrong_amounts.push(miss(row, expected, read));
        } else if read != expected {
            self.needless_questions.push(miss(row, expected, format!("{:?}", got.slots.amount)));
        }
    }

    /// Adds another measurement.
    pub fn merge(&mut self, other: Self) {
        let add =
            |to: &mut Tally, from: Tally| *to = Tally { right: to.right + from.right, of: to.of + from.of };
        add(&mut self.intents, other.intents);
        add(&mut self.amounts_read, other.amounts_read);
        add(&mut self.amounts_asked, other.amounts_asked);
        add(&mut self.slot_amounts, other.slot_amounts);
        add(&mut self.slot_recipients, other.slot_recipients);
        for (intent, tally) in other.by_intent {
            add(self.by_intent.entry(intent).or_default(), tally);
        }
        for (expected, row) in other.confusion {
            for (got, times) in row {
                *self.confusion.entry(expected).or_default().entry(got).or_default() += times;
            }
        }
        self.wrong_amounts.extend(other.wrong_amounts);
        self.needless_questions.extend(other.needless_questions);
        self.misses.extend(other.misses);
    }
}

fn miss(row: &Row, expected: impl Into<Shown>, got: impl Into<Shown>) -> Miss {
    Miss { text: row.text.clone(), expected: expected.into().0, got: got.into().0 }
}

/// What a report prints for a value; nothing is "a question".
struct Shown(String);

impl From<Option<String>> for Shown {
    fn from(text: Option<String>) -> Self {
        Self(text.unwrap_or_else(|| "a question".to_owned()))
    }
}
impl From<String> for Shown {
    fn from(text: String) -> Self {
        Self(text)
    }
}
impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

fn money(minor: Option<i64>, currency: Option<&str>) -> Option<String> {
    Some(format!("{} {}", minor?, currency.unwrap_or("MXN")))
}

fn shown(amount: Amount) -> Option<String> {
    amount.exact().map(|money| format!("{} {}", money.minor(), money.currency()))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "intents           {}", self.intents)?;
        for (intent, tally) in &self.by_intent {
            writeln!(f, "  {:<18}{tally}", intent.name())?;
        }
        writeln!(f, "certain amounts   {} read", self.amounts_read)?;
        writeln!(f, "unclear amounts   {} asked about", self.amounts_asked)?;
        writeln!(f, "wrong amounts     {}", self.wrong_amounts.len())?;
        writeln!(f, "amount slots      {}", self.slot_amounts)?;
        writeln!(f, "recipient slots   {}", self.slot_recipients)?;
        for (title, misses) in [
            ("wrong amount", &self.wrong_amounts),
            ("needless question", &self.needless_questions),
            ("missed", &self.misses),
        ] {
            for Miss { text, expected, got } in misses {
                writeln!(f, "{title}: {text:?} is {expected}, understood {got}")?;
            }
        }
        Ok(())
    }
}
