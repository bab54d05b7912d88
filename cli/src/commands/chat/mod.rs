//! `steadfast chat`: a conversation with the assistant, for people and for scripts.

mod lines;
mod people;
mod screen;
mod script;

use std::{io::IsTerminal as _, sync::Arc, time::Duration};

use clap::Args;
use steadfast_core::{SessionId, World};

use super::Global;
use crate::talk::{Link, Server};
use screen::Screen;

/// See [`super::Command::Chat`].
#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// Speak as this user, with a token made with the node's key.
    #[arg(long, conflicts_with_all = ["token", "act_as"])]
    user: Option<String>,
    /// Go on with this conversation; what was replied in it is shown again.
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// Of an earlier conversation show only the replies after this number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "session")]
    after: u64,
    /// How many seconds a reply may take when the lines come from a file or a pipe.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Neither read nor write the history of what was typed.
    #[arg(long)]
    no_history: bool,
}

const HELP: &str = "\
Write as you would to a person, in Spanish or English: ¿cuánto tengo?, send 200 pesos to luis.
When money is about to move, the exact arguments are shown; answer y or n (s or n).
  /session  the conversation's id, to go on with it later: steadfast chat --session ID
  /help     this
  /quit     leave; what was accepted goes on without you";

/// What a line asks for.
enum Line<'a> {
    Nothing,
    Say(&'a str),
    Quit,
    Session,
    Help,
    Unknown,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Self {
        match line.trim() {
            "" => Self::Nothing,
            "/quit" | "/exit" => Self::Quit,
            "/session" => Self::Session,
            "/help" => Self::Help,
            command if command.starts_with('/') => Self::Unknown,
            words => Self::Say(words),
        }
    }
}

pub(crate) async fn run(args: ChatArgs, global: &Global) -> anyhow::Result<()> {
    let world = World::system();
    let connection = global.connection.clone();
    let server = Server {
        url: connection.address().to_owned(),
        token: Arc::new(move || connection.token(args.user.as_deref())),
    };
    let link = Link::open(server, args.session, args.after, world.clone()).await?;
    let mut screen = Screen::new(global.json, args.session, args.after);
    if std::io::stdin().is_terminal() {
        return people::talk(link, &mut screen, &world, !args.no_history).await;
    }
    script::talk(link, &mut screen, &world, Duration::from_secs(args.timeout)).await
}
