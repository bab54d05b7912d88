//! People who talk with the bank's assistant: they ask, confirm, decline, change their minds
//! or walk away, in two languages, on connections that break, and take up again whatever was
//! cut off.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use steadfast_core::{CorrelationId, Principal, RequestId, Role, SessionId, TenantId};
use steadfast_server::{Caller, ClientFrame, Outbox, ReplyStatus, ServerFrame};
use steadfast_sim::Fault;
use tokio::sync::mpsc;

use crate::{
    clients::Network,
    node::{Node, Request},
    tally::Tally,
    wishes::USERS,
};

/// What somebody does when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// By the program.
    Frame(bool),
    /// In words.
    Words(bool),
    /// Says something else instead.
    Change,
    /// Walks away.
    Silence,
}

/// Something said, and what its client knows of it.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) user: &'static str,
    pub(crate) request: RequestId,
    session: Option<SessionId>,
    text: String,
    decision: Decision,
    pub(crate) acked: bool,
    asked: bool,
    /// The last reply that was told.
    frame: u64,
    /// What was told in the end: the reply's number, status and data.
    pub(crate) told: Option<(u64, ReplyStatus, serde_json::Value)>,
    pub(crate) refused: bool,
}

impl Said {
    fn is_over(&self) -> bool {
        self.told.is_some() || self.refused || self.asked && self.decision == Decision::Silence
    }
}

/// What all of them know.
#[derive(Clone, Default)]
pub(crate) struct Talks(Arc<Mutex<Vec<Said>>>);

impl Talks {
    pub(crate) fn all(&self) -> Vec<Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn note(&self, said: &Said) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.iter_mut().find(|other| other.request == said.request) {
            Some(known) => *known = said.clone(),
            None => all.push(said.clone()),
        }
    }
}

/// A connection: frames to the node, and back.
struct Line {
    up: mpsc::UnboundedSender<ClientFrame>,
    down: mpsc::UnboundedReceiver<String>,
}

pub(crate) struct Talker {
    pub(crate) network: Network,
    pub(crate) talks: Talks,
    pub(crate) tally: Tally,
}

impl Talker {
    /// Says so many things, each to its end.
    pub(crate) async fn live(self, count: u64) {
        let mut last: Option<Said> = None;
        for _ in 0..count {
            let mut said = self.anything(last.as_ref());
            self.converse(&mut said).await;
            if said.asked && matches!(said.decision, Decision::Words(_) | Decision::Change) {
                let mut next = self.answer(&said);
                self.converse(&mut next).await;
                self.await_end(&mut said).await;
            }
            if self.below(2) == 0 {
                self.stray(&said).await;
            }
            last = Some(said);
            self.network.pause(5_000).await;
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.network.site.fate.below(bound)
    }

    fn say(&self, user: &'static str, session: Option<SessionId>, text: String) -> Said {
        let decision = match self.below(10) {
            0..4 => Decision::Frame(true),
            4 => Decision::Frame(false),
            5 | 6 => Decision::Words(true),
            7 => Decision::Words(false),
            8 => Decision::Change,
            _ => Decision::Silence,
        };
        let request = RequestId::next(&self.network.site.world);
        let (acked, asked, refused) = (false, false, false);
        Said { user, request, session, text, decision, acked, asked, frame: 0, told: None, refused }
    }

    fn anything(&self, last: Option<&Said>) -> Said {
        let nth = usize::try_from(self.below(3)).unwrap_or(0);
        let goes_on = last.filter(|last| last.acked && self.below(2) == 0);
        let (user, session) = goes_on.map_or((USERS[nth], None), |last| (last.user, last.session));
        let text = self.text(user);
        self.say(user, session, text)
    }

    fn text(&self, user: &str) -> String {
        let others: Vec<&str> = USERS.into_iter().filter(|other| *other != user).collect();
        let to = others[usize::try_from(self.below(2)).unwrap_or(0)];
        let pesos = if self.below(10) == 0 { 900_000 } else { 1 + self.below(300) };
        match self.below(14) {
            10 => format!("transfiere {pesos} pesos a {user}"),
            11 => format!("transfiere {pesos} pesos a la CLABE 032180000118359719"),
            12 => format!("transfiere {pesos} pesos a {to} {}", "por favor ".repeat(300)),
            13 => format!("send {pesos} pesos from my dollar account to {to}"),
            0..3 => format!("transfiere {pesos} pesos a {to}"),
            3..5 => format!("send {pesos} pesos to {to}"),
            5 => "quiero comprar un chocolate de mesa".into(),
            6 => "buy a signed alebrije".into(),
            7 => "¿cuánto tengo?".into(),
            8 => "transfiere dinero".into(),
            _ => "what products do you have?".into(),
        }
    }

    /// What is said to a question.
    fn answer(&self, asked: &Said) -> Said {
        let text = match asked.decision {
            Decision::Words(true) => "sí".into(),
            Decision::Words(false) => "no".into(),
            _ => self.text(asked.user),
        };
        let answer = self.say(asked.user, asked.session, text);
        // Whatever this brings up is decided at once.
        Said { decision: Decision::Frame(self.below(2) == 0), ..answer }
    }

    /// Until it has an outcome, or is left to others.
    async fn converse(&self, said: &mut Said) {
        let is_left = |said: &Said| {
            said.is_over() || said.asked && matches!(said.decision, Decision::Words(_) | Decision::Change)
        };
        while !is_left(said) {
            self.on_a_line(said, is_left).await;
            self.talks.note(said);
        }
    }

    async fn await_end(&self, said: &mut Said) {
        while !said.is_over() {
            self.on_a_line(said, Said::is_over).await;
            self.talks.note(said);
        }
    }

    /// Says something out of place, and listens to what is said to it.
    async fn stray(&self, after: &Said) -> Option<()> {
        // It may be long after.
        self.network.pause(100_000).await;
        let (world, accept) = (&self.network.site.world, self.below(2) == 0);
        let frame = match self.below(5) {
            0 => ClientFrame::Confirm { request_id: RequestId::next(world), accept },
            1 => ClientFrame::Resume { session_id: SessionId::next(world), after: 0 },
            _ => ClientFrame::Confirm { request_id: after.request, accept },
        };
        let mut line = self.connect(after.user)?;
        self.tell(&line, frame)?;
        let patience = world.clock().sleep(Duration::from_secs(5));
        let frame = tokio::select! {
            biased;
            frame = line.down.recv() => frame?,
            () = patience => return None,
        };
        if let ServerFrame::Error { code, .. } = serde_json::from_str(&frame).ok()? {
            self.tally.note(&code);
        }
        Some(())
    }

    /// Over one connection, for as long as it lasts.
    async fn on_a_line(&self, said: &mut Said, over: impl Fn(&Said) -> bool) -> Option<()> {
        self.network.pause(500).await;
        let mut line = self.connect(said.user)?;
        match said.session.filter(|_| said.acked) {
            Some(session_id) => {
                self.tell(&line, ClientFrame::Resume { session_id, after: said.frame })?;
                if let (true, Decision::Frame(accept)) = (said.asked, said.decision) {
                    self.tell(&line, ClientFrame::Confirm { request_id: said.request, accept })?;
                }
            }
            None => self.tell(&line, message(said))?,
        }
        while !over(said) {
            let patience = self.network.site.world.clock().sleep(Duration::from_secs(90));
            let frame = tokio::select! {
                biased;
                frame = line.down.recv() => frame?,
                () = patience => return None,
            };
            if self.breaks(Fault::ReplyLost) {
                return None;
            }
            self.told(said, &line, serde_json::from_str(&frame).ok()?)?;
        }
        Some(())
    }

    fn told(&self, said: &mut Said, line: &Line, frame: ServerFrame) -> Option<()> {
        match frame {
            ServerFrame::Ack { request_id, session_id, .. } if request_id == said.request => {
                said.acked = true;
                said.session = Some(session_id);
            }
            ServerFrame::Reply { request_id, frame, status, data, .. } if request_id == said.request => {
                said.frame = frame;
                if status != ReplyStatus::NeedsConfirmation {
                    said.told = Some((frame, status, data));
                } else if let Decision::Frame(accept) = said.decision {
                    said.asked = true;
                    self.tell(line, ClientFrame::Confirm { request_id, accept })?;
                } else {
                    said.asked = true;
                }
            }
            ServerFrame::Error { code, retryable, .. } => {
                self.tally.note(&code);
                // What was not heard is not heard later either; of what was, an end is told, but
                // not to whoever is not let in.
                said.refused |= !retryable && (!said.acked || code == "customer.inactive");
                if retryable {
                    return None;
                }
            }
            _ => {}
        }
        Some(())
    }

    fn breaks(&self, fault: Fault) -> bool {
        self.network.site.fate.strikes(fault)
    }

    fn tell(&self, line: &Line, frame: ClientFrame) -> Option<()> {
        if self.breaks(Fault::RequestLost) {
            return None;
        }
        if self.breaks(Fault::Duplicated) {
            line.up.send(frame.clone()).ok()?;
        }
        line.up.send(frame).ok()?;
        self.network.site.traffic.note();
        Some(())
    }

    /// The other end dies with its node, and so does the line.
    fn connect(&self, user: &'static str) -> Option<Line> {
        let (up, mut heard) = mpsc::unbounded_channel();
        let (told, down) = mpsc::unbounded_channel();
        let (traffic, world) = (self.network.site.traffic.clone(), self.network.site.world.clone());
        let request: Request = Box::new(move |node: Node| {
            Box::pin(async move {
                let principal =
                    Principal { tenant: TenantId::default(), user: user.into(), role: Role::User };
                let caller = Caller { principal, correlation: CorrelationId::next(&world) };
                if let Err(failure) = node.desk.admit(&caller).await {
                    let error = ServerFrame::error(None, &failure);
                    drop(told.send(serde_json::to_string(&error).unwrap_or_default()));
                    return traffic.note();
                }
                let (outbox, mut outgoing) = Outbox::new(64);
                let mut connection = node.desk.connect(caller, outbox);
                loop {
                    tokio::select! {
                        biased;
                        Some(frame) = outgoing.frame() => drop(told.send(frame)),
                        frame = heard.recv() => match frame {
                            Some(frame) => connection.hear(frame).await,
                            None => return,
                        },
                    }
                    traffic.note();
                }
            })
        });
        self.network.knock(request)?;
        Some(Line { up, down })
    }
}

fn message(said: &Said) -> ClientFrame {
    ClientFrame::Message { request_id: Some(said.request), session_id: said.session, text: said.text.clone() }
}
