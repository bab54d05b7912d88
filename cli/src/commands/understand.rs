use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use steadfast_bank_assistant::understand::{Context, Miss, Report, Rules, Tally, evaluate};
use steadfast_core::Failure;

use super::Global;
use crate::output;

/// Below this the assistant asks too often for what was said.
const INTENTS_PER_MILLE_MIN: u32 = 900;

/// See [`super::bank::BankCommand::Understand`].
#[derive(Debug, Args)]
pub(crate) struct UnderstandArgs {
    /// A folder; all its *.jsonl are read.
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Also print what was understood differently.
    #[arg(long)]
    misses: bool,
}

/// Measures how well messages are understood, on rows with known meanings.
pub(crate) async fn run(args: UnderstandArgs, global: &Global) -> anyhow::Result<()> {
    let files = files(&args.data)?;
    let rules = Rules::default();
    let (mut all, mut rows) = (Report::default(), Vec::new());
    for file in &files {
        let name = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("{name} cannot be read"))?;
        let report = evaluate(&rules, &text, &Context::default()).await;
        let report =
            report.map_err(|row| Failure::refused("understand.bad_row", format!("{name}: {row}")))?;
        let count = text.lines().filter(|line| !line.trim().is_empty()).count();
        rows.push((file.file_name().unwrap_or_default().to_string_lossy().into_owned(), count));
        all.merge(report);
    }
    if !args.misses {
        all.misses.clear();
        all.needless_questions.clear();
    }
    let passed = all.wrong_amounts.is_empty() && all.intents.per_mille() >= INTENTS_PER_MILLE_MIN;
    if global.json {
        let rows: serde_json::Map<_, _> =
            rows.into_iter().map(|(name, count)| (name, count.into())).collect();
        output::json(&json!({ "passed": passed, "rows": rows, "report": all }))?;
    } else {
        print(&all, &rows);
    }
    if passed {
        return Ok(());
    }
    let message =
        "an amount was understood wrongly, or fewer than 90 % of the intents rightly; the report says which";
    Err(Failure::refused("understand.not_good_enough", message).into())
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = || format!("--data {}: the folder cannot be read", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let message = format!("--data {}: no *.jsonl is there", folder.display());
        return Err(Failure::refused("understand.no_data", message).into());
    }
    Ok(files)
}

fn print(report: &Report, rows: &[(String, usize)]) {
    for (name, count) in rows {
        output::line(format!("{name}: {count} rows"));
    }
    let percent = |tally: Tally| format!("{}.{} %", tally.per_mille() / 10, tally.per_mille() % 10);
    let row = |name: &str, tally: Tally| {
        vec![name.to_owned(), tally.right.to_string(), tally.of.to_string(), percent(tally)]
    };
    let mut table = vec![row("intents", report.intents)];
    table.extend(report.by_intent.iter().map(|(intent, tally)| row(&format!("  {}", intent.name()), *tally)));
    table.push(row("certain amounts, read", report.amounts_read));
    table.push(row("unclear amounts, asked", report.amounts_asked));
    table.push(row("amounts in requests", report.slot_amounts));
    table.push(row("recipients in requests", report.slot_recipients));
    output::table(&["WHAT", "RIGHT", "OF", ""], &table);
    output::line(format!("wrong amounts: {}", report.wrong_amounts.len()));
    let all: [(&str, &[Miss]); 3] = [
        ("wrong amount", &report.wrong_amounts),
        ("needless question", &report.needless_questions),
        ("missed", &report.misses),
    ];
    for (title, misses) in all {
        for Miss { text, expected, got } in misses {
            output::line(format!("{title}: {text:?} is {expected}, understood {got}"));
        }
    }
}
