//! Brings in accounts and transactions from files.
//!
//! A file is read twice. First every line is checked; if one is wrong, all wrong ones are
//! reported and nothing is done. Then the lines are carried out in order, in chunks, each
//! under a key of its own that is never forgotten: a file that was cut off can simply be
//! imported again, and one that was imported changes nothing.

mod lines;
mod rows;

use std::{fs::File, io::BufReader, path::Path};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use steadfast_core::{Failure, Principal};

pub use lines::{Format, Line, Lines};
pub use rows::{Kind, Row};

use crate::{Ask, Bank, Key, Op, Reply, Status};

/// A line that was not imported, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The line, from 1.
    pub line: u64,
    /// Which field of it; nothing when it is the whole line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What it says, cut to 64 characters.
    pub value: String,
    /// What it should say.
    pub rule: String,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Lines carried out.
    pub done: u64,
    /// Lines altogether.
    pub total: u64,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Lines with something in them.
    pub lines: u64,
    /// Of those, what is now in the books and was not before.
    pub imported: u64,
    /// And what had been imported before.
    pub repeated: u64,
    /// Lines that were not imported: the first 100.
    pub problems: Vec<Problem>,
    /// Why it stopped half-way; import the file again to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Failure>,
}

/// Lines carried out at once.
const CHUNK: usize = 64;
const PROBLEMS: usize = 100;

/// Imports a file. `tell` hears of each chunk.
pub async fn import(
    bank: &Bank,
    principal: &Principal,
    kind: Kind,
    path: &Path,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report, Failure> {
    let mut report = check(kind, path)?;
    if !report.problems.is_empty() {
        return Ok(report);
    }
    let total = report.lines;
    let mut done = 0;
    for chunk in chunks(path)? {
        done += chunk.len() as u64;
        report.add(carry_out(bank, principal, kind, chunk).await);
        tell(Progress { done, total });
        if report.stopped.is_some() {
            break;
        }
    }
    Ok(report)
}

/// Reads every line and says what is wrong with any of them. Nothing is done.
pub fn check(kind: Kind, path: &Path) -> Result<Report, Failure> {
    let mut report = Report::default();
    for line in lines(path)? {
        report.lines += 1;
        if let Err(problem) = line.and_then(|line| kind.row(&line)) {
            report.problem(problem);
        }
    }
    Ok(report)
}

/// The lines of a file in chunks. Those that do not read have been told by [`check`] and
/// are left out.
pub fn chunks(path: &Path) -> Result<impl Iterator<Item = Vec<Line>> + Send, Failure> {
    let mut lines = lines(path)?.filter_map(Result::ok);
    Ok(std::iter::from_fn(move || {
        let chunk: Vec<Line> = lines.by_ref().take(CHUNK).collect();
        (!chunk.is_empty()).then_some(chunk)
    }))
}

fn lines(path: &Path) -> Result<lines::Lines, Failure> {
    let format = Format::of(path)?;
    let file = File::open(path).map_err(|error| {
        let message = format!("{} cannot be read: {error}", path.display());
        Failure::refused("import.unreadable", message)
    })?;
    Ok(format.lines(BufReader::new(file)))
}

impl Kind {
    /// What a file is about, by the fields of its first line.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let first = lines(path)?.next().and_then(Result::ok);
        let has = |field: &str| {
            let fields = first.as_ref().map(|line| &line.fields);
            fields.is_some_and(|fields| fields.contains_key(field))
        };
        if has("user") {
            Ok(Self::Accounts)
        } else if has("from") {
            Ok(Self::Transactions)
        } else {
            let message = format!(
                "{} is neither of accounts (user, name, currency, balance) nor of transactions (id, from, to, amount, currency)",
                path.display()
            );
            Err(Failure::refused("import.format", message))
        }
    }
}

impl Report {
    fn problem(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS {
            self.problems.push(problem);
        }
    }
    /// Adds what a chunk came to; the lines themselves were counted before.
    pub fn add(&mut self, chunk: Self) {
        self.imported += chunk.imported;
        self.repeated += chunk.repeated;
        for problem in chunk.problems {
            self.problem(problem);
        }
        self.stopped = self.stopped.take().or(chunk.stopped);
    }
}

/// Carries out lines in their order. Each has a key of its own, so that they can be sent
/// again.
pub async fn carry_out(bank: &Bank, principal: &Principal, kind: Kind, lines: Vec<Line>) -> Report {
    let mut report = Report { lines: lines.len() as u64, ..Report::default() };
    let rows = lines.iter().map(|line| kind.row(line)).collect();
    carry_out_rows(bank, principal, rows, &mut report).await;
    report
}

async fn carry_out_rows(
    bank: &Bank,
    principal: &Principal,
    chunk: Vec<Result<Row, Problem>>,
    report: &mut Report,
) {
    // Asked for in the file's order, which the decider keeps for each account.
    let results = join_all(chunk.into_iter().map(|row| async {
        let row = row?;
        let result = ask(bank, principal, &row).await;
        Ok((row, result))
    }));
    for result in results.await {
        let (row, result) = match result {
            Ok(result) => result,
            // The file was changed while it was imported.
            Err(problem) => {
                report.problem(problem);
                continue;
            }
        };
        let rule = match result {
            Ok(reply) if reply.answer.status == Status::Settled => {
                *(if reply.replayed { &mut report.repeated } else { &mut report.imported }) += 1;
                continue;
            }
            Ok(reply) => reply.answer.reason.map_or_else(String::new, |r| r.message),
            Err(failure) if failure.retryable || !failure.nothing_happened => {
                report.stopped = Some(failure);
                continue;
            }
            Err(failure) if failure.code == "idempotency_key_reused" => {
                "this id was imported before with other content: use another id".into()
            }
            Err(failure) => failure.message,
        };
        report.problem(Problem { line: row.line, field: None, value: row.id, rule });
    }
}

async fn ask(bank: &Bank, principal: &Principal, row: &Row) -> Result<Reply, Failure> {
    let key = Key::Import(row.id.clone());
    match row.op.clone() {
        Op::OpenAccount(op) => bank.open_account(principal, key, op).await,
        op => bank.ask(Ask::new(op, principal.clone(), key)).await,
    }
}
