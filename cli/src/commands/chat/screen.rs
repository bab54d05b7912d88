//! What a conversation looks like.

use std::collections::BTreeMap;

use serde_json::Value;
use steadfast_core::{RequestId, SessionId};
use steadfast_server::{ReplyStatus, ServerFrame};

use super::lines::Above;
use crate::output;

/// Shows what is said, and remembers of it what the next line may refer to.
pub(super) struct Screen {
    json: bool,
    above: Option<Above>,
    session: Option<SessionId>,
    /// The number of the last reply; one that answers several requests is shown once.
    last: u64,
    /// What waits for a yes: the request, and how it was shown.
    question: Option<RequestId>,
    steps: BTreeMap<String, u32>,
}

impl Screen {
    pub(super) fn new(json: bool, session: Option<SessionId>, last: u64) -> Self {
        Self { json, above: None, session, last, question: None, steps: BTreeMap::new() }
    }

    /// Prints above the line that is being typed.
    pub(super) fn above(&mut self, above: Option<Above>) {
        self.above = above;
    }

    /// The request whose confirmation is open.
    pub(super) fn question(&self) -> Option<RequestId> {
        self.question
    }
    /// It was answered.
    pub(super) fn answered(&mut self) {
        self.question = None;
    }
    /// How to go on with this conversation later.
    pub(super) fn go_on(&self) -> Option<String> {
        let session = self.session?;
        Some(format!("--session {session} --after {}", self.last))
    }
    /// The conversation's id, as far as it has one.
    pub(super) fn session(&self) -> String {
        self.session.map_or_else(|| "no conversation yet: say something".into(), |id| id.to_string())
    }

    /// Shows a frame that was not shown before; steps only to those who watch.
    pub(super) fn show(&mut self, frame: &ServerFrame, steps: bool) -> anyhow::Result<()> {
        if self.json {
            self.print(serde_json::to_string(frame)?);
        }
        match frame {
            ServerFrame::Ack { session_id, .. } => self.session = Some(*session_id),
            ServerFrame::Progress { step, status, attempt, .. } if steps && !self.json => {
                self.step(step, status, *attempt);
            }
            ServerFrame::Progress { .. } => {}
            ServerFrame::Reply { request_id, frame, status, text, data, .. } => {
                self.steps.clear();
                let shown = *frame <= self.last;
                self.last = self.last.max(*frame);
                let asks = *status == ReplyStatus::NeedsConfirmation;
                if asks {
                    self.question = Some(*request_id);
                } else if self.question == Some(*request_id) {
                    self.question = None;
                }
                if shown || self.json {
                    return Ok(());
                }
                self.print(plain(text));
                if asks {
                    self.print(arguments(data));
                    if steps {
                        self.print("  Confirm? y/n (s/n)".to_owned());
                    }
                }
            }
            ServerFrame::Error { request_id, code, message, .. } => {
                if self.question.is_some() && self.question == *request_id {
                    self.question = None;
                }
                if !self.json {
                    self.print(format!("error: {} ({})", plain(message), plain(code)));
                }
            }
        }
        Ok(())
    }

    /// Shows a refusal to programs; people read of it as the error that ends the command.
    pub(super) fn refused(&mut self, frame: &ServerFrame) -> anyhow::Result<()> {
        if self.json { self.show(frame, false) } else { Ok(()) }
    }

    /// Each attempt at a step once, and that it failed.
    fn step(&mut self, step: &str, status: &str, attempt: u32) {
        let name = plain(step);
        match status {
            "failed" => self.print(format!("  ✗ {name}")),
            "started" if self.steps.insert(step.to_owned(), attempt) < Some(attempt) => {
                let again = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                self.print(format!("  … {name}{again}"));
            }
            _ => {}
        }
    }

    /// Something that the server did not say.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        match &mut self.above {
            Some(_) => self.print(text.into()),
            None => output::note(text.into()),
        }
    }

    fn print(&mut self, text: String) {
        match &mut self.above {
            // A terminal that is gone ends the input too.
            Some(above) => drop(above.print(text + "\n")),
            None => output::line(text),
        }
    }
}

/// What a yes would be to, argument by argument, and until when.
fn arguments(data: &Value) -> String {
    // In the order in which people ask; what is not named here comes last.
    const ORDER: [&str; 8] = ["action", "amount", "total", "quantity", "product", "name", "to", "from"];
    let empty = serde_json::Map::new();
    let proposal = data.get("proposal").and_then(Value::as_object).unwrap_or(&empty);
    let mut names: Vec<&String> = proposal.keys().collect();
    names.sort_by_key(|name| ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len()));
    let mut rows: Vec<(&str, String)> =
        names.iter().map(|name| (name.as_str(), output::cell(&data["proposal"], name))).collect();
    rows.push(("expires", output::cell(data, "expires")));
    let lines = rows.iter().map(|(name, value)| format!("  {:<9} {}", plain(name), plain(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Without what a terminal would obey: texts hold what people, and models, have written.
fn plain(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_confirmation_shows_every_argument_exactly() {
        let data = json!({
            "kind": "confirm",
            "proposal": {
                "action": "transfer",
                "from": "ana-checking",
                "to": "luis-checking",
                "name": "Luis",
                "amount": { "minor": 2_324_950, "currency": "MXN" },
                "new_argument": 7,
            },
            "expires": "2026-01-01T00:05:00Z",
        });
        let shown = "  action    transfer\n  amount    23,249.50 MXN\n  name      Luis\n  to        luis-checking\n  \
                     from      ana-checking\n  new_argument 7\n  expires   2026-01-01T00:05:00Z";
        assert_eq!(arguments(&data), shown);
    }

    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}1A\r\nc\u{7f}"), "a[2Jb1A\nc");
    }
}
