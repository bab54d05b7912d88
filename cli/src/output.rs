//! What people and programs read: tables and JSON on stdout, errors on stderr.

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use crate::failed::Failed;

/// One line on stdout. A closed pipe ends the program quietly, as `head` expects.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{}", text.as_ref())
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}

/// One line for people on stderr, beside what programs read on stdout.
pub(crate) fn note(text: impl AsRef<str>) {
    // Nothing to be done if stderr is closed.
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}

/// Did it fail because nobody reads our output any more?
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        let json = cause.downcast_ref::<serde_json::Error>();
        cause.downcast_ref().is_some_and(broken)
            || json.and_then(serde_json::Error::io_error_kind) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// Why a command failed: one line for people, or one JSON object.
pub(crate) fn failed(failed: &Failed, as_json: bool) {
    note(if as_json { failed.to_json() } else { format!("error: {failed}") });
}

/// A value as indented JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Rows in columns as wide as they need to be.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain([headers[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headers.len()).map(width).collect();
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        line(padded.join("  ").trim_end());
    };
    print(&mut headers.iter().copied());
    for row in rows {
        print(&mut row.iter().map(String::as_str));
    }
}

/// A field of an answer as a cell: text bare, money as people write it, the rest as JSON.
pub(crate) fn cell(value: &Value, field: &str) -> String {
    match value.pointer(&format!("/{}", field.replace('.', "/"))) {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => match serde_json::from_value::<steadfast_core::Money>(other.clone()) {
            Ok(money) => money.to_string(),
            Err(_) => other.to_string(),
        },
    }
}

/// The rows of a list answer, wherever it keeps them.
pub(crate) fn items(answer: &Value) -> Vec<Value> {
    let list = answer.get("items").unwrap_or(answer);
    list.as_array().cloned().unwrap_or_default()
}

/// A list answer as a table, or as it came.
pub(crate) fn list(answer: &Value, as_json: bool, columns: &[(&str, &str)]) -> anyhow::Result<()> {
    if as_json {
        return json(answer);
    }
    let headers: Vec<&str> = columns.iter().map(|(header, _)| *header).collect();
    let rows: Vec<Vec<String>> = items(answer)
        .iter()
        .map(|item| columns.iter().map(|(_, field)| cell(item, field)).collect())
        .collect();
    table(&headers, &rows);
    if let Some(next) = answer.get("next").and_then(Value::as_str) {
        note(format!("more with --cursor {next}"));
    }
    Ok(())
}

/// One thing as `field  value` lines, or as it came.
pub(crate) fn thing(answer: &Value, as_json: bool) -> anyhow::Result<()> {
    let Value::Object(fields) = answer else {
        return json(answer);
    };
    if as_json {
        return json(answer);
    }
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    for name in fields.keys() {
        line(format!("{name:<width$}  {}", cell(answer, name)));
    }
    Ok(())
}

/// A bar on a terminal, nothing elsewhere. `length` 0 means that it is not known.
pub(crate) fn progress(length: u64, what: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
    }
    let template =
        if length == 0 { "{msg} {pos} {elapsed_precise}" } else { "{msg} {wide_bar} {pos}/{len} {eta}" };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(what)
}
