//! Lines of files with accounts and transactions.

use std::io::Cursor;

use steadfast_bank::import::{Format, Kind, Line, Problem};

use crate::told;

/// The first byte says which format and what about.
pub(crate) fn import(data: &[u8]) {
    let Some((which, file)) = data.split_first() else { return };
    let format = if which & 1 == 0 { Format::Csv } else { Format::Jsonl };
    let kind = if which & 2 == 0 { Kind::Accounts } else { Kind::Transactions };
    let mut before = 1;
    for line in format.lines(Cursor::new(file.to_vec())) {
        match line {
            Ok(line) => {
                // Records may be parted by a bare carriage return, which begins no line.
                assert!(line.number >= before, "line {} after {before}", line.number);
                before = line.number;
                row(kind, &line);
            }
            Err(problem) => check(&problem),
        }
    }
}

fn check(problem: &Problem) {
    assert!(problem.value.chars().count() <= 64);
    assert!(problem.line > 0);
    told::text(&problem.rule);
}

/// A line that can be carried out means the same as JSON, whatever it was read from.
fn row(kind: Kind, line: &Line) {
    let row = match kind.row(line) {
        Ok(row) => row,
        Err(problem) => {
            assert_eq!(problem.line, line.number);
            return check(&problem);
        }
    };
    let json = serde_json::to_vec(&line.fields).expect("JSON");
    let mut again = Format::Jsonl.lines(Cursor::new(json));
    let line = again.next().expect("a line").expect("it reads");
    let same = kind.row(&line).expect("it can be carried out");
    assert_eq!((same.id, same.op), (row.id, row.op));
    assert!(again.next().is_none());
}
