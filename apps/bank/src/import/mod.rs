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
use serde::Serialize;
use steadfast_core::{Failure, Principal};

pub use lines::Format;
pub use rows::Kind;

use crate::{Ask, Bank, Key, Op, Reply, Status};
use rows::Row;

/// A line that was not imported, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The line, from 1.
    pub line: u64,
    /// Which field of it; nothing when it is the whole line.
    #[serde(skip_serializing_if = "Option::is_none")]
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
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
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
    #[serde(skip_serializing_if = "Option::is_none")]
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
    let format = Format::of(path)?;
    let open = || {
        File::open(path).map(BufReader::new).map_err(|error| {
            let message = format!("{} cannot be read: {error}", path.display());
            Failure::refused("import.unreadable", message)
        })
    };
    let mut report = Report::default();
    for line in format.lines(open()?) {
        report.lines += 1;
        if let Err(problem) = line.and_then(|line| kind.row(&line))
            && report.problems.len() < PROBLEMS
        {
            report.problems.push(problem);
        }
    }
    if !report.problems.is_empty() {
        return Ok(report);
    }
    let mut rows = format
        .lines(open()?)
        .map(|line| line.and_then(|line| kind.row(&line)));
    let mut done = 0;
    loop {
        let chunk: Vec<_> = rows.by_ref().take(CHUNK).collect();
        if chunk.is_empty() || report.stopped.is_some() {
            return Ok(report);
        }
        done += chunk.len() as u64;
        carry_out(bank, principal, chunk, &mut report).await;
        let total = report.lines;
        tell(Progress { done, total });
    }
}

async fn carry_out(
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
                report.problems.push(problem);
                continue;
            }
        };
        let rule = match result {
            Ok(reply) if reply.answer.status == Status::Settled => {
                *(if reply.replayed {
                    &mut report.repeated
                } else {
                    &mut report.imported
                }) += 1;
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
        if report.problems.len() < PROBLEMS {
            report.problems.push(Problem {
                line: row.line,
                field: None,
                value: row.id,
                rule,
            });
        }
    }
}

async fn ask(bank: &Bank, principal: &Principal, row: &Row) -> Result<Reply, Failure> {
    let key = Key::Import(row.id.clone());
    match row.op.clone() {
        Op::OpenAccount(op) => bank.open_account(principal, key, op).await,
        op => bank.ask(Ask::new(op, principal.clone(), key)).await,
    }
}
