//! A conversation with a person at a terminal.

use std::{collections::BTreeSet, time::Duration};

use steadfast_core::{RequestId, World};
use steadfast_server::ServerFrame;

use super::{
    HELP, Line,
    lines::{self, Lines},
    screen::Screen,
};
use crate::talk::{Ask, Link, News};

/// How long a message that was just typed may take to be acknowledged before we leave.
const ACKED_WITHIN: Duration = Duration::from_secs(3);

/// Until the person leaves.
pub(super) async fn talk(
    link: Link,
    screen: &mut Screen,
    world: &World,
    history: bool,
) -> anyhow::Result<()> {
    let history = history.then(lines::history).flatten();
    let (lines, above) = lines::typed(history)?;
    screen.above(above);
    screen.note("Say something; /help helps, /quit or Ctrl-D leaves.");
    let mut table = Table { link, screen, world, unacked: BTreeSet::new(), lines };
    let outcome = table.talk().await;
    if let Err(error) = &outcome {
        table.screen.note(format!("{error:#}. Press Enter to leave."));
        // The terminal belongs to the editor until it gives a line back.
        let _ = table.lines.recv().await;
    }
    let Table { link, screen, .. } = table;
    screen.above(None);
    for frame in link.close().await {
        screen.show(&frame, true)?;
    }
    if let Some(go_on) = screen.go_on() {
        screen.note(format!("Go on with: steadfast chat {go_on}"));
    }
    outcome
}

struct Table<'a> {
    link: Link,
    screen: &'a mut Screen,
    world: &'a World,
    unacked: BTreeSet<RequestId>,
    lines: Lines,
}

impl Table<'_> {
    async fn talk(&mut self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                news = self.link.next() => self.hear(news?)?,
                line = self.lines.recv() => match line.transpose()? {
                    Some(line) => {
                        if !self.read(&line).await {
                            break;
                        }
                    }
                    None => break,
                },
            }
        }
        let clock = self.world.clock();
        let acked = async {
            while !self.unacked.is_empty() {
                let news = self.link.next().await?;
                self.hear(news)?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            acked = acked => acked?,
            () = clock.sleep(ACKED_WITHIN) => {}
        }
        if !self.unacked.is_empty() {
            self.screen.note("The last message was not acknowledged: look whether it was done.");
        }
        Ok(())
    }

    fn hear(&mut self, news: News) -> anyhow::Result<()> {
        match news {
            News::Frame(frame) => {
                if let ServerFrame::Ack { request_id, .. }
                | ServerFrame::Reply { request_id, .. }
                | ServerFrame::Error { request_id: Some(request_id), .. } = &frame
                {
                    self.unacked.remove(request_id);
                }
                self.screen.show(&frame, true)?;
            }
            News::Lost(why) => self.screen.note(format!("  The connection is lost ({why}); trying again …")),
            News::Back => self.screen.note("  Connected again."),
        }
        Ok(())
    }

    /// False when the person leaves.
    async fn read(&mut self, line: &str) -> bool {
        match Line::read(line) {
            Line::Nothing => {}
            Line::Quit => return false,
            Line::Help => self.screen.note(HELP),
            Line::Session => {
                let session = self.screen.session();
                self.screen.note(session);
            }
            Line::Unknown => self.screen.note("There is no such command; /help shows them."),
            Line::Say(words) => {
                if let (Some(request), Some(accept)) = (self.screen.question(), yes_or_no(words)) {
                    self.screen.answered();
                    self.link.ask(Ask::Decide(request, accept)).await;
                } else {
                    let request = RequestId::next(self.world);
                    self.unacked.insert(request);
                    self.link.ask(Ask::Say(request, words.to_owned())).await;
                }
            }
        }
        true
    }
}

/// A bare yes or no; anything more is words, for the assistant to understand.
fn yes_or_no(words: &str) -> Option<bool> {
    match words.to_lowercase().as_str() {
        "y" | "yes" | "s" | "sí" | "si" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_yes_or_no_answers_a_confirmation() {
        for yes in ["y", "Y", "yes", "s", "Sí", "si"] {
            assert_eq!(yes_or_no(yes), Some(true), "{yes}");
        }
        assert_eq!((yes_or_no("n"), yes_or_no("NO")), (Some(false), Some(false)));
        for words in ["", "yes, but 300", "no, mejor 300", "sip"] {
            assert_eq!(yes_or_no(words), None, "{words}");
        }
    }
}
