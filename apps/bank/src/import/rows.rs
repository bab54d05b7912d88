use std::{fmt::Display, str::FromStr};

use serde::{Deserialize, Serialize};
use steadfast_core::{Currency, Money, Time};

use super::{Problem, lines::Line};
use crate::{
    AccountId, Limits, Op,
    names::SYSTEM,
    op::{OpenAccount, Transfer},
};

/// What a file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `user`, `name`, `currency`, and what is on it: `balance`, as in `1250.50`.
    Accounts,
    /// `id`, `from`, `to`, `amount`, `currency`; `memo` and `time` (RFC 3339) if known.
    /// The side that is outside the bank is `system-equity-mxn` for MXN and so on.
    Transactions,
}

/// A line that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place in the file.
    pub line: u64,
    /// What it is recognized by when it comes again.
    pub id: String,
    /// What it asks of the bank.
    pub op: Op,
}

impl Kind {
    const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Accounts => &["user", "name", "currency", "balance"],
            Self::Transactions => &["id", "from", "to", "amount", "currency", "memo", "time"],
        }
    }

    /// Reads a line; the first thing wrong with it if something is.
    pub fn row(self, line: &Line) -> Result<Row, Problem> {
        if let Some(field) = line.fields.keys().find(|field| !self.fields().contains(&field.as_str())) {
            let rule = format!("is not a field: use {}", self.fields().join(", "));
            return Err(line.problem(field, rule));
        }
        let (id, op) = match self {
            Self::Accounts => account(line)?,
            Self::Transactions => transaction(line)?,
        };
        Ok(Row { line: line.number, id, op })
    }
}

fn text<'a>(line: &'a Line, field: &str) -> Result<&'a str, Problem> {
    let found = line.fields.get(field);
    found.map(String::as_str).ok_or_else(|| line.problem(field, "is missing"))
}

fn read<T: FromStr<Err: Display>>(line: &Line, field: &str) -> Result<T, Problem> {
    text(line, field)?.parse().map_err(|error: T::Err| line.problem(field, error.to_string()))
}

fn money(line: &Line, field: &str) -> Result<Money, Problem> {
    let currency: Currency = read(line, "currency")?;
    Money::parse(text(line, field)?, currency).map_err(|error| line.problem(field, error.to_string()))
}

fn account(line: &Line) -> Result<(String, Op), Problem> {
    let (owner, name) = (text(line, "user")?, text(line, "name")?);
    let field = if AccountId::of(owner, "x").is_err() { "user" } else { "name" };
    let account = AccountId::of(owner, name).map_err(|error| line.problem(field, error.to_string()))?;
    if owner == SYSTEM {
        return Err(line.problem("user", "is the name of the books themselves: use another"));
    }
    let opening = money(line, "balance")?;
    if opening.minor() < 0 {
        return Err(line.problem("balance", "must be zero or more"));
    }
    let op = Op::OpenAccount(OpenAccount {
        account: account.clone(),
        owner: owner.into(),
        name: name.into(),
        opening,
        floor: 0,
        limits: Limits::default(),
    });
    Ok((account.into(), op))
}

fn transaction(line: &Line) -> Result<(String, Op), Problem> {
    let id = text(line, "id")?;
    if id.len() > 128 || id.chars().any(char::is_control) {
        return Err(line.problem("id", "must have 1 to 128 bytes and no control characters"));
    }
    let (from, to): (AccountId, AccountId) = (read(line, "from")?, read(line, "to")?);
    if from == to {
        return Err(line.problem("to", "must be another account than `from`"));
    }
    let amount =
        money(line, "amount")?.positive().map_err(|error| line.problem("amount", error.to_string()))?;
    let memo = line.fields.get("memo");
    if memo.is_some_and(|memo| memo.chars().count() > 140 || memo.chars().any(char::is_control)) {
        return Err(line.problem("memo", "must have at most 140 characters and no line breaks"));
    }
    let time = line.fields.contains_key("time");
    let booked: Option<Time> = time.then(|| read(line, "time")).transpose()?;
    let op = Op::Transfer(Transfer {
        from,
        to,
        amount,
        memo: memo.map(|memo| memo.as_str().into()),
        imported: true,
        booked,
    });
    Ok((id.into(), op))
}
