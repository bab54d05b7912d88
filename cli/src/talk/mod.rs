//! A client of `/ws`: one conversation that outlives its connections.
//!
//! [`Link`] keeps it connected. What it must send again after a connection was lost, and
//! which replies it has heard before, is decided here, without a socket:
//!
//! 1. A message without its ack is sent again under the same request id: it is the same
//!    message to the server, whether or not the first one arrived.
//! 2. A message with its ack is durable. `resume` brings its reply.
//! 3. A yes or no has no ack; it is sent again until a reply shows that it was heard. The
//!    first one counts.
//! 4. One reply may answer several requests, each in a frame of the same number. A
//!    connection may end between two of them, so `resume` asks for the last number again.

mod link;
mod socket;

use std::collections::BTreeSet;

pub(crate) use link::{Ask, Link, News, Server};
use steadfast_core::{RequestId, SessionId};
use steadfast_server::{ClientFrame, ReplyStatus, ServerFrame};

/// How often a frame that the server could not take is sent again.
const TRIES: u32 = 8;
/// Replies that are told from repeats.
const HEARD_MAX: usize = 4_096;

/// What was said and what was heard.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    session: Option<SessionId>,
    /// The number of the last reply.
    last: u64,
    heard: BTreeSet<(u64, RequestId)>,
    /// What is not answered, in the order in which it was said.
    open: Vec<Said>,
}

#[derive(Debug)]
struct Said {
    request: RequestId,
    what: What,
    tries: u32,
}

#[derive(Debug)]
enum What {
    Words { text: String, acked: bool },
    Decision { accept: bool },
}

/// What a frame means for the conversation.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// To be shown; and what is to be sent now, if anything.
    New(Vec<ClientFrame>),
    /// It was shown before.
    Repeat,
    /// Not this time: the request's frames are sent again after a while.
    Later,
}

impl Talk {
    /// A conversation that goes on, heard up to a reply's number; or one that begins.
    pub(crate) fn new(session: Option<SessionId>, last: u64) -> Self {
        Self { session, last, ..Self::default() }
    }

    /// Says something; the frames are to be sent now. Until the first message of a
    /// conversation is acknowledged nobody knows its id, and the others wait.
    pub(crate) fn say(&mut self, request: RequestId, text: String) -> Vec<ClientFrame> {
        let first = self.open.is_empty();
        self.open.push(Said { request, what: What::Words { text, acked: false }, tries: 0 });
        if self.session.is_none() && !first {
            Vec::new()
        } else {
            self.frames(|said| said.request == request)
        }
    }

    /// Says yes or no; the frames are to be sent now.
    pub(crate) fn decide(&mut self, request: RequestId, accept: bool) -> Vec<ClientFrame> {
        self.open.push(Said { request, what: What::Decision { accept }, tries: 0 });
        vec![ClientFrame::Confirm { request_id: request, accept }]
    }

    /// What a fresh connection is to be told, in this order.
    pub(crate) fn again(&self) -> Vec<ClientFrame> {
        let Some(session_id) = self.session else {
            let first = self.open.first().map(|said| said.request);
            return self.frames(|said| Some(said.request) == first);
        };
        let mut frames = vec![ClientFrame::Resume { session_id, after: self.last.saturating_sub(1) }];
        frames.extend(self.frames(|_| true));
        frames
    }

    /// Takes in what the server says.
    pub(crate) fn hear(&mut self, frame: &ServerFrame) -> Heard {
        match frame {
            ServerFrame::Ack { request_id, session_id, .. } => {
                let mut repeat = false;
                for said in self.open.iter_mut().filter(|said| said.request == *request_id) {
                    if let What::Words { acked, .. } = &mut said.what {
                        repeat = std::mem::replace(acked, true);
                    }
                }
                let begins = self.session.replace(*session_id).is_none();
                let held_back = if begins { self.frames(|_| true) } else { Vec::new() };
                if repeat { Heard::Repeat } else { Heard::New(held_back) }
            }
            ServerFrame::Progress { .. } => Heard::New(Vec::new()),
            ServerFrame::Reply { request_id, frame, status, session_id, .. } => {
                self.session.get_or_insert(*session_id);
                self.last = self.last.max(*frame);
                self.answered(*request_id, *status);
                if !self.heard.insert((*frame, *request_id)) {
                    return Heard::Repeat;
                }
                if self.heard.len() > HEARD_MAX {
                    self.heard.pop_first();
                }
                Heard::New(Vec::new())
            }
            ServerFrame::Error { request_id, retryable, .. } => self.refused(*request_id, *retryable),
        }
    }

    /// A yes or no was heard once something else than the question is replied.
    fn answered(&mut self, request: RequestId, status: ReplyStatus) {
        self.open.retain(|said| {
            let settled = match said.what {
                What::Words { .. } => true,
                What::Decision { .. } => status != ReplyStatus::NeedsConfirmation,
            };
            said.request != request || !settled
        });
    }

    fn refused(&mut self, request: Option<RequestId>, retryable: bool) -> Heard {
        let Some(request) = request else {
            return if retryable { Heard::Later } else { Heard::New(Vec::new()) };
        };
        let mut again = false;
        for said in self.open.iter_mut().filter(|said| said.request == request) {
            said.tries += 1;
            again |= retryable && said.tries < TRIES;
        }
        if again {
            return Heard::Later;
        }
        self.open.retain(|said| said.request != request);
        // Another message may begin the conversation instead.
        Heard::New(if self.session.is_none() { self.again() } else { Vec::new() })
    }

    fn frames(&self, of: impl Fn(&Said) -> bool) -> Vec<ClientFrame> {
        let frame = |said: &Said| match &said.what {
            What::Words { acked: true, .. } => None,
            What::Words { text, .. } => Some(ClientFrame::Message {
                request_id: Some(said.request),
                session_id: self.session,
                text: text.clone(),
            }),
            What::Decision { accept } => {
                Some(ClientFrame::Confirm { request_id: said.request, accept: *accept })
            }
        };
        self.open.iter().filter(|said| of(said)).filter_map(frame).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use steadfast_core::{CorrelationId, RunId};

    use super::*;

    fn request(n: u8) -> RequestId {
        RequestId::from_bytes([n; 16])
    }
    fn session() -> SessionId {
        SessionId::from_bytes([9; 16])
    }
    fn ack(n: u8) -> ServerFrame {
        ServerFrame::Ack {
            request_id: request(n),
            run_id: RunId::from_bytes([1; 16]),
            correlation_id: CorrelationId::from_bytes([1; 16]),
            session_id: session(),
        }
    }
    fn reply(n: u8, frame: u64, status: ReplyStatus) -> ServerFrame {
        ServerFrame::Reply {
            request_id: request(n),
            run_id: RunId::from_bytes([1; 16]),
            session_id: session(),
            frame,
            status,
            text: String::new(),
            data: Value::Null,
        }
    }
    fn error(n: u8, retryable: bool) -> ServerFrame {
        let (code, message) = ("session.busy".into(), String::new());
        ServerFrame::Error { request_id: Some(request(n)), code, message, retryable }
    }
    fn message(n: u8, session_id: Option<SessionId>) -> ClientFrame {
        ClientFrame::Message { request_id: Some(request(n)), session_id, text: n.to_string() }
    }
    fn resume(after: u64) -> ClientFrame {
        ClientFrame::Resume { session_id: session(), after }
    }
    fn told(talk: &mut Talk, frame: &ServerFrame) {
        assert_eq!(talk.hear(frame), Heard::New(vec![]));
    }

    #[test]
    fn what_has_no_ack_is_sent_again_and_what_has_one_is_resumed() {
        let mut talk = Talk::new(None, 0);
        assert_eq!(talk.say(request(1), "1".into()), vec![message(1, None)]);
        assert_eq!(talk.again(), vec![message(1, None)], "the same id: the same message");
        told(&mut talk, &ack(1));
        assert_eq!(talk.again(), vec![resume(0)]);
        assert_eq!(talk.say(request(2), "2".into()), vec![message(2, Some(session()))]);
        told(&mut talk, &reply(1, 7, ReplyStatus::Completed));
        assert_eq!(talk.again(), vec![resume(6), message(2, Some(session()))]);
    }

    #[test]
    fn what_is_said_before_the_conversation_has_an_id_waits_for_it() {
        let mut talk = Talk::new(None, 0);
        talk.say(request(1), "1".into());
        assert_eq!(talk.say(request(2), "2".into()), vec![]);
        assert_eq!(talk.again(), vec![message(1, None)]);
        assert_eq!(talk.hear(&ack(1)), Heard::New(vec![message(2, Some(session()))]));
    }

    #[test]
    fn a_decision_is_sent_again_until_its_outcome_is_heard() {
        let mut talk = Talk::new(Some(session()), 3);
        let confirm = ClientFrame::Confirm { request_id: request(1), accept: true };
        assert_eq!(talk.decide(request(1), true), vec![confirm.clone()]);
        told(&mut talk, &reply(1, 4, ReplyStatus::NeedsConfirmation));
        assert_eq!(talk.again(), vec![resume(3), confirm]);
        told(&mut talk, &reply(1, 5, ReplyStatus::Completed));
        assert_eq!(talk.again(), vec![resume(4)]);
    }

    #[test]
    fn a_reply_is_new_once_for_each_request_that_it_answers() {
        let mut talk = Talk::new(Some(session()), 0);
        told(&mut talk, &reply(1, 4, ReplyStatus::Completed));
        assert_eq!(talk.hear(&reply(1, 4, ReplyStatus::Completed)), Heard::Repeat);
        told(&mut talk, &reply(2, 4, ReplyStatus::Completed));
    }

    #[test]
    fn a_refusal_that_may_pass_is_tried_again_but_not_for_ever() {
        let mut talk = Talk::new(Some(session()), 0);
        talk.say(request(1), "1".into());
        for _ in 1..TRIES {
            assert_eq!(talk.hear(&error(1, true)), Heard::Later);
        }
        told(&mut talk, &error(1, true));
        assert_eq!(talk.again(), vec![resume(0)], "given up");
        talk.say(request(2), "2".into());
        told(&mut talk, &error(2, false));
        assert_eq!(talk.again(), vec![resume(0)]);
    }

    #[test]
    fn a_first_message_that_is_refused_lets_the_next_one_begin_the_conversation() {
        let mut talk = Talk::new(None, 0);
        talk.say(request(1), "1".into());
        talk.say(request(2), "2".into());
        assert_eq!(talk.hear(&error(1, false)), Heard::New(vec![message(2, None)]));
    }
}
