//! A conversation with a program: each line is said once the one before was replied to.

use std::time::Duration;

use steadfast_core::{Failure, RequestId, World};
use steadfast_server::ServerFrame;

use super::{HELP, Line, lines, screen::Screen};
use crate::{
    output,
    talk::{Ask, Link, News},
};

/// Until the input ends and all of it is replied to.
pub(super) async fn talk(
    mut link: Link,
    screen: &mut Screen,
    world: &World,
    timeout: Duration,
) -> anyhow::Result<()> {
    let mut lines = lines::piped();
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let line = tokio::select! {
            line = lines.recv() => line.transpose()?,
            news = link.next() => {
                hear(screen, &news?)?;
                continue;
            }
            _ = &mut interrupted => None,
        };
        let Some(line) = line else { break };
        let words = match Line::read(&line) {
            Line::Nothing => continue,
            Line::Quit => break,
            Line::Help => {
                output::note(HELP);
                continue;
            }
            Line::Session => {
                output::note(screen.session());
                continue;
            }
            Line::Unknown => {
                let message = format!("{:?} is no command; /help shows them", line.trim());
                return Err(Failure::refused("chat.unknown_command", message).into());
            }
            Line::Say(words) => words,
        };
        let request = RequestId::next(world);
        link.ask(Ask::Say(request, words.to_owned())).await;
        tokio::select! {
            replied = replied(&mut link, screen, request) => replied?,
            () = world.clock().sleep(timeout) => {
                let message = format!("no reply within {} s; what was acknowledged goes on", timeout.as_secs());
                return Err(unanswered(screen, "chat.no_reply", message).into());
            }
            _ = &mut interrupted => {
                let message = "interrupted before the reply; what was acknowledged goes on".into();
                return Err(unanswered(screen, "chat.interrupted", message).into());
            }
        }
    }
    for frame in link.close().await {
        screen.show(&frame, false)?;
    }
    if screen.question().is_some() {
        output::note("the input ended before the confirmation: nothing moves without a yes");
    }
    Ok(())
}

/// Shows what comes until the reply to a request. A message that is refused ends the
/// conversation: the lines after it lean on it.
async fn replied(link: &mut Link, screen: &mut Screen, request: RequestId) -> anyhow::Result<()> {
    loop {
        let news = link.next().await?;
        hear(screen, &news)?;
        if matches!(&news, News::Frame(ServerFrame::Reply { request_id, .. }) if *request_id == request) {
            return Ok(());
        }
    }
}

fn hear(screen: &mut Screen, news: &News) -> anyhow::Result<()> {
    match news {
        News::Frame(frame @ ServerFrame::Error { code, message, retryable, .. }) => {
            screen.refused(frame)?;
            let failure = Failure::refused(code.clone(), message.clone());
            Err(Failure { retryable: *retryable, ..failure }.into())
        }
        News::Frame(frame) => screen.show(frame, false),
        News::Lost(why) => {
            output::note(format!("the connection is lost ({why}); trying again"));
            Ok(())
        }
        News::Back => {
            output::note("connected again");
            Ok(())
        }
    }
}

fn unanswered(screen: &Screen, code: &str, message: String) -> Failure {
    let go_on = screen.go_on().map(|go_on| format!(": go on with {go_on}")).unwrap_or_default();
    Failure { nothing_happened: false, ..Failure::refused(code, message + &go_on) }
}
