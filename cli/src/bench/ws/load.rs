use std::time::Duration;

use anyhow::bail;
use steadfast_core::{RequestId, World};
use steadfast_server::{ReplyStatus, ServerFrame};

use crate::talk::{Ask, Link, News};

/// Who talks, and to whom each of them sends money: round in a ring, so that nobody runs
/// out of it.
pub(super) const USERS: [(&str, &str); 3] = [("ana", "luis"), ("luis", "marta"), ("marta", "ana")];
/// A reply that takes longer is lost.
const REPLIED_WITHIN: Duration = Duration::from_secs(30);

/// What a message is about.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Balance,
    Movements,
    Transfer,
}

impl Kind {
    pub(super) const fn of(number: u64) -> Self {
        match number % 3 {
            0 => Self::Balance,
            1 => Self::Movements,
            _ => Self::Transfer,
        }
    }
}

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) messages: u64,
    pub(super) acks: Vec<Duration>,
    pub(super) replies: Vec<Duration>,
    pub(super) lost: u64,
    /// Refused, or replied to otherwise than hoped for.
    pub(super) not_done: u64,
    pub(super) confirmed: u64,
    pub(super) reconnects: u64,
}

impl Measured {
    pub(super) fn add(&mut self, mut other: Self) {
        self.messages += other.messages;
        self.acks.append(&mut other.acks);
        self.replies.append(&mut other.replies);
        self.lost += other.lost;
        self.not_done += other.not_done;
        self.confirmed += other.confirmed;
        self.reconnects += other.reconnects;
    }
}

/// A connection and its conversation.
pub(super) struct Talker {
    link: Link,
    user: usize,
    world: World,
}

/// When a connection is cut: at once, or when the ack is there.
#[derive(Clone, Copy, PartialEq)]
enum Cut {
    Never,
    AtOnce,
    AfterAck,
}

impl Talker {
    pub(super) const fn new(link: Link, user: usize, world: World) -> Self {
        Self { link, user, world }
    }

    /// Says something that was due at a time, and hears the replies to it.
    pub(super) async fn exchange(&mut self, kind: Kind, due: Duration) -> anyhow::Result<Measured> {
        let mut measured = Measured::default();
        self.talk(kind, due, Cut::Never, &mut measured).await?;
        Ok(measured)
    }

    /// Asks for a transfer and is cut off, confirms it and is cut off again.
    pub(super) async fn cut_off(&mut self, after_ack: bool) -> anyhow::Result<Measured> {
        let mut measured = Measured::default();
        let cut = if after_ack { Cut::AfterAck } else { Cut::AtOnce };
        let due = self.world.clock().elapsed();
        self.talk(Kind::Transfer, due, cut, &mut measured).await?;
        Ok(measured)
    }

    async fn talk(
        &mut self,
        kind: Kind,
        mut due: Duration,
        cut: Cut,
        measured: &mut Measured,
    ) -> anyhow::Result<()> {
        let request = RequestId::next(&self.world);
        measured.messages += 1;
        self.link.ask(Ask::Say(request, self.words(kind))).await;
        if cut == Cut::AtOnce {
            self.link.ask(Ask::Cut).await;
        }
        loop {
            let Some(news) = self.next().await? else {
                measured.lost += 1;
                return Ok(());
            };
            let waited = self.world.clock().elapsed().saturating_sub(due);
            match news {
                News::Frame(ServerFrame::Ack { request_id, .. }) if request_id == request => {
                    measured.acks.push(waited);
                    if cut == Cut::AfterAck {
                        self.link.ask(Ask::Cut).await;
                    }
                }
                News::Frame(ServerFrame::Reply { request_id, status, .. }) if request_id == request => {
                    measured.replies.push(waited);
                    match (kind, status) {
                        (Kind::Transfer, ReplyStatus::NeedsConfirmation) => {
                            due = self.world.clock().elapsed();
                            self.link.ask(Ask::Decide(request, true)).await;
                            if cut != Cut::Never {
                                self.link.ask(Ask::Cut).await;
                            }
                        }
                        (Kind::Transfer, ReplyStatus::Completed) => {
                            measured.confirmed += 1;
                            return Ok(());
                        }
                        (_, ReplyStatus::Completed) => return Ok(()),
                        _ => {
                            measured.not_done += 1;
                            return Ok(());
                        }
                    }
                }
                News::Frame(ServerFrame::Error { request_id, code, message, .. }) => match request_id {
                    Some(refused) if refused == request => {
                        measured.not_done += 1;
                        return Ok(());
                    }
                    Some(_) => {}
                    None => bail!("the server refused a frame: {message} ({code})"),
                },
                News::Frame(_) | News::Back => {}
                News::Lost(_) => measured.reconnects += 1,
            }
        }
    }

    fn words(&self, kind: Kind) -> String {
        match kind {
            Kind::Balance => "¿cuánto tengo en mi cuenta?".into(),
            Kind::Movements => "show me my latest transactions".into(),
            Kind::Transfer => format!("transfiere $1.00 a {}", USERS[self.user].1),
        }
    }

    async fn next(&mut self) -> anyhow::Result<Option<News>> {
        tokio::select! {
            news = self.link.next() => news.map(Some),
            () = self.world.clock().sleep(REPLIED_WITHIN) => Ok(None),
        }
    }
}
