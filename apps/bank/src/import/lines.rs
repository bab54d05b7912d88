use std::{
    collections::BTreeMap,
    fmt,
    io::{BufRead, Read},
    path::Path,
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};
use steadfast_core::Failure;

use super::Problem;

/// How a file says what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a line of field names on top.
    Csv,
    /// One JSON object a line, whose values are texts.
    Jsonl,
}

/// One line: its fields as texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Its place in the file, from 1.
    pub number: u64,
    /// By name.
    pub fields: BTreeMap<String, String>,
}

impl Line {
    pub(super) fn problem(&self, field: &str, rule: impl Into<String>) -> Problem {
        let value = self.fields.get(field).map_or("", String::as_str);
        Problem {
            line: self.number,
            field: Some(field.to_owned()),
            value: value.chars().take(64).collect(),
            rule: rule.into(),
        }
    }
}

/// The longest line of a JSONL file.
const LINE_MAX: u64 = 64 * 1024;

/// The lines of a file.
pub type Lines = Box<dyn Iterator<Item = Result<Line, Problem>> + Send>;

impl Format {
    /// By the file's name: `.csv`, `.jsonl`.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            _ => Err(Failure::refused(
                "import.format",
                format!("{} must end in .csv or .jsonl", path.display()),
            )),
        }
    }

    /// The lines of a file, or what is wrong with one.
    pub fn lines(self, file: impl BufRead + Send + 'static) -> Lines {
        match self {
            Self::Csv => csv_lines(file),
            Self::Jsonl => jsonl_lines(file),
        }
    }
}

fn whole(line: u64, text: &str, rule: String) -> Problem {
    Problem { line, field: None, value: text.chars().take(64).collect(), rule }
}

fn csv_lines(file: impl Read + Send + 'static) -> Lines {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => return Box::new(std::iter::once(Err(csv_problem(1, &error)))),
    };
    if headers.iter().enumerate().any(|(i, name)| headers.iter().take(i).any(|earlier| earlier == name)) {
        let rule = "two fields on top have the same name: which one is meant?";
        return Box::new(std::iter::once(Err(whole(1, "", rule.into()))));
    }
    let mut last = 1;
    Box::new(reader.into_records().map(move |record| {
        let record = record.map_err(|error| csv_problem(last + 1, &error))?;
        last = record.position().map_or(last + 1, csv::Position::line);
        let fields = headers.iter().zip(record.iter());
        Ok(Line {
            number: last,
            // An empty field of a table is one that is left out.
            fields: fields
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        })
    }))
}

fn csv_problem(guess: u64, error: &csv::Error) -> Problem {
    let line = error.position().map_or(guess, csv::Position::line);
    whole(line, "", format!("not a line of CSV: {error}"))
}

/// The members of an object, none of them twice: of two amounts, which is meant?
struct Fields(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if fields.contains_key(&name) {
                        return Err(A::Error::custom("a field is there twice"));
                    }
                    fields.insert(name, value);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

fn jsonl_lines(mut file: impl BufRead + Send + 'static) -> Lines {
    let mut number = 0;
    let mut ended = false;
    Box::new(std::iter::from_fn(move || {
        while !ended {
            number += 1;
            let mut text = Vec::new();
            match file.by_ref().take(LINE_MAX).read_until(b'\n', &mut text) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    ended = true;
                    return Some(Err(whole(number, "", format!("cannot be read: {error}"))));
                }
            }
            if text.len() as u64 >= LINE_MAX {
                ended = true;
                let rule = format!("a line must be shorter than {LINE_MAX} bytes");
                return Some(Err(whole(number, "", rule)));
            }
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let fields = serde_json::from_slice(&text).map(|Fields(fields)| fields).map_err(|error| {
                let text = String::from_utf8_lossy(&text);
                let rule = format!("must be a JSON object whose values are texts: {error}");
                whole(number, text.trim(), rule)
            });
            return Some(fields.map(|fields| Line { number, fields }));
        }
        None
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_there_twice_is_told_and_not_guessed() {
        for (format, file) in [
            (Format::Csv, "user,name,name\nana,a,b\n"),
            (Format::Jsonl, r#"{"user":"ana","name":"a","name":"b"}"#),
        ] {
            let lines: Vec<_> = format.lines(file.as_bytes()).collect();
            let [Err(problem)] = &lines[..] else { panic!("{lines:?}") };
            assert_eq!(problem.line, 1);
            assert!(problem.rule.contains("same name") || problem.rule.contains("twice"), "{}", problem.rule);
        }
    }
}
