use std::{collections::VecDeque, sync::Arc, time::Duration};

use steadfast_core::{RequestId, SessionId, World};
use steadfast_server::{ClientFrame, ServerFrame};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    Heard, Talk,
    socket::{Arrived, Socket, may_pass},
};

/// Pauses between attempts to connect, and before a frame is sent again: from the first,
/// doubled, up to the last; each shortened by chance.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LAST: Duration = Duration::from_secs(5);
/// A connection on which nothing arrives for so long is asked for a sign of life, and given
/// up when none comes for as long again.
const QUIET: Duration = Duration::from_secs(20);
/// How long the server may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);
/// What waits to be asked while there is no connection.
const ASKS_MAX: usize = 64;
/// Frames that wait to be looked at.
const NEWS_MAX: usize = 256;

/// Where the server is, and how to get a token: each connection asks for one anew, because
/// a conversation may last longer than a token.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) token: Arc<dyn Fn() -> anyhow::Result<String> + Send + Sync>,
}

/// What a conversation is asked to do.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Say something.
    Say(RequestId, String),
    /// Yes or no.
    Decide(RequestId, bool),
    /// Lose the connection as a broken line does, and find a new one.
    Cut,
}

/// What is new in a conversation.
#[derive(Debug)]
pub(crate) enum News {
    /// The server says something that it has not said before.
    Frame(ServerFrame),
    /// The connection is lost, and another one is looked for.
    Lost(String),
    /// Another one is found.
    Back,
}

/// A conversation that keeps itself connected. When it is dropped it hangs up.
pub(crate) struct Link {
    asks: mpsc::Sender<Ask>,
    news: mpsc::Receiver<News>,
    task: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Link {
    /// Connects. Goes on with `session` where one is given, with what was replied after
    /// `after`.
    pub(crate) async fn open(
        server: Server,
        session: Option<SessionId>,
        after: u64,
        world: World,
    ) -> anyhow::Result<Self> {
        let socket = Socket::open(&server.url, &(server.token)()?, &world).await?;
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let (told, news) = mpsc::channel(NEWS_MAX);
        let talk = Talk::new(session, after);
        let line = Line { server, world, talk, asked, told, unsent: VecDeque::new() };
        let task = Some(tokio::spawn(line.run(socket)));
        Ok(Self { asks, news, task })
    }

    /// Asks for something; waits while much is asked for and no connection is there. If the
    /// conversation has ended, [`Link::next`] says so.
    pub(crate) async fn ask(&self, ask: Ask) {
        let _ = self.asks.send(ask).await;
    }

    /// What is new. An error means that the conversation has ended for good. Safe to drop
    /// half-way.
    pub(crate) async fn next(&mut self) -> anyhow::Result<News> {
        if let Some(news) = self.news.recv().await {
            return Ok(news);
        }
        if let Some(task) = &mut self.task {
            let ended = task.await;
            self.task = None;
            ended??;
        }
        anyhow::bail!("the conversation has ended")
    }

    /// Hangs up; what the server said by then is returned.
    pub(crate) async fn close(mut self) -> Vec<ServerFrame> {
        // The task notices that nobody can ask any more.
        self.asks = mpsc::channel(1).0;
        let mut last = Vec::new();
        while let Some(news) = self.news.recv().await {
            if let News::Frame(frame) = news {
                last.push(frame);
            }
        }
        last
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The task behind a [`Link`].
struct Line {
    server: Server,
    world: World,
    talk: Talk,
    asked: mpsc::Receiver<Ask>,
    told: mpsc::Sender<News>,
    unsent: VecDeque<ClientFrame>,
}

/// How a connection ended.
enum End {
    /// By itself.
    Lost(String),
    /// On purpose: nobody asks or listens any more.
    Done,
}

impl Line {
    async fn run(mut self, mut socket: Socket) -> anyhow::Result<()> {
        loop {
            self.unsent = self.talk.again().into();
            match self.talk_over(socket).await {
                End::Done => return Ok(()),
                End::Lost(why) => {
                    if self.told.send(News::Lost(why)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            socket = match self.reconnect().await? {
                Some(socket) => socket,
                None => return Ok(()),
            };
            if self.told.send(News::Back).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Until the connection ends.
    async fn talk_over(&mut self, mut socket: Socket) -> End {
        let mut asked_for_a_sign = false;
        let mut tries = 0;
        loop {
            while let Some(frame) = self.unsent.pop_front() {
                if let Err(error) = socket.send(&frame).await {
                    return End::Lost(error.to_string());
                }
            }
            tokio::select! {
                arrived = socket.next() => {
                    asked_for_a_sign = false;
                    let frame = match arrived {
                        Arrived::Frame(frame) => *frame,
                        Arrived::Sign => continue,
                        Arrived::Ended(why) => return End::Lost(why),
                    };
                    match self.talk.hear(&frame) {
                        Heard::Repeat => {}
                        Heard::New(unsent) => {
                            tries = 0;
                            self.unsent.extend(unsent);
                            if self.told.send(News::Frame(frame)).await.is_err() {
                                return End::Done;
                            }
                        }
                        Heard::Later => {
                            self.pause(tries).await;
                            tries += 1;
                            self.unsent = self.talk.again().into();
                        }
                    }
                }
                ask = self.asked.recv() => match ask {
                    Some(Ask::Say(request, text)) => self.unsent.extend(self.talk.say(request, text)),
                    Some(Ask::Decide(request, accept)) => self.unsent.extend(self.talk.decide(request, accept)),
                    Some(Ask::Cut) => return End::Lost("it was cut".into()),
                    None => return self.goodbye(socket).await,
                },
                () = self.world.clock().sleep(QUIET) => {
                    if asked_for_a_sign || socket.ping().await.is_err() {
                        return End::Lost("the server gives no sign of life".into());
                    }
                    asked_for_a_sign = true;
                }
            }
        }
    }

    /// Another connection; `None` when nobody wants one any more.
    async fn reconnect(&mut self) -> anyhow::Result<Option<Socket>> {
        for tries in 0.. {
            tokio::select! {
                () = self.pause(tries) => {}
                () = self.told.closed() => return Ok(None),
            }
            if self.asked.is_closed() && self.asked.is_empty() {
                return Ok(None);
            }
            match Socket::open(&self.server.url, &(self.server.token)()?, &self.world).await {
                Ok(socket) => return Ok(Some(socket)),
                Err(error) if may_pass(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Closes, and hears what the server says until it closes too.
    async fn goodbye(&mut self, mut socket: Socket) -> End {
        let goodbye = async {
            if socket.close().await.is_err() {
                return;
            }
            loop {
                match socket.next().await {
                    Arrived::Ended(_) => return,
                    Arrived::Sign => {}
                    Arrived::Frame(frame) => {
                        if matches!(self.talk.hear(&frame), Heard::New(_)) {
                            // Nobody listens: then nobody misses it.
                            let _ = self.told.send(News::Frame(*frame)).await;
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = goodbye => {}
            () = self.world.clock().sleep(GOODBYE) => {}
        }
        End::Done
    }

    async fn pause(&self, tries: u32) {
        let whole = PAUSE_LAST.min(PAUSE_FIRST.saturating_mul(1 << tries.min(16)));
        let millis = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
        let part = millis / 2 + self.world.chance().below(millis / 2 + 1);
        self.world.clock().sleep(Duration::from_millis(part)).await;
    }
}
