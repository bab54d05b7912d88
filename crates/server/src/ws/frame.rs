//! What is said over a socket: JSON objects, told apart by `type`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use steadfast_core::{CorrelationId, Failure, RequestId, RunId, SessionId};

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// Something to be answered.
    Message {
        /// What the client calls it: a repeat under the same id is the same message.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
        /// The conversation it belongs to; without one a conversation begins.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<SessionId>,
        /// In the user's words: not blank, and not longer than the server takes.
        text: String,
    },
    /// Yes or no to a reply that needed a confirmation.
    Confirm {
        /// Of the message whose reply asked.
        request_id: RequestId,
        /// Whether it shall be done.
        accept: bool,
    },
    /// Asks for the replies of a conversation once more.
    Resume {
        /// Which conversation.
        session_id: SessionId,
        /// The number of the last reply that arrived; 0 asks for all of them.
        after: u64,
    },
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The message is durable: it will be answered, whatever happens to this connection.
    Ack {
        /// The message's.
        request_id: RequestId,
        /// The run that answers it.
        run_id: RunId,
        /// What ties together all that follows from it.
        correlation_id: CorrelationId,
        /// The conversation it is in.
        session_id: SessionId,
    },
    /// What a run is about to do. It is not kept: what is missed is not told again.
    Progress {
        /// The message's.
        request_id: RequestId,
        /// The run's.
        run_id: RunId,
        /// Which step.
        step: String,
        /// What became of it.
        status: String,
        /// The attempt at the step; a higher one makes everything before it void.
        attempt: u32,
        /// The place among the frames of this attempt.
        seq: u64,
    },
    /// The answer. It is kept: `resume` brings it again.
    Reply {
        /// The message's.
        request_id: RequestId,
        /// The run's.
        run_id: RunId,
        /// The conversation it is in.
        session_id: SessionId,
        /// Its number in the conversation, from 1 on; what `resume` asks after.
        frame: u64,
        /// How it ended.
        status: ReplyStatus,
        /// For people.
        text: String,
        /// For programs.
        data: Value,
    },
    /// What was not done, and why. The connection stays open.
    Error {
        /// The message's, if it could be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
        /// Stable, for programs.
        code: String,
        /// For people: what is wrong and what to do.
        message: String,
        /// May the very same frame succeed later?
        retryable: bool,
    },
}

/// How a message's run ended, as its reply tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyStatus {
    /// It was done, or answered.
    Completed,
    /// It was not done.
    Failed,
    /// It is done once `confirm` accepts it.
    NeedsConfirmation,
}

impl ServerFrame {
    /// Its `type`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Ack { .. } => "ack",
            Self::Progress { .. } => "progress",
            Self::Reply { .. } => "reply",
            Self::Error { .. } => "error",
        }
    }
    /// An error frame.
    pub fn error(request_id: Option<RequestId>, failure: &Failure) -> Self {
        Self::Error {
            request_id,
            code: failure.code.clone(),
            message: failure.message.clone(),
            retryable: failure.retryable,
        }
    }
}

impl ClientFrame {
    /// Its `type`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Message { .. } => "message",
            Self::Confirm { .. } => "confirm",
            Self::Resume { .. } => "resume",
        }
    }
}
