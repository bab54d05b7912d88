use tokio_tungstenite::tungstenite::{
    self,
    error::ProtocolError,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::wire::TOO_MANY_PIECES;

/// Why we close. The numbers below 4000 are those of RFC 6455, section 7.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    GoingAway,
    Protocol,
    Binary,
    NotUtf8,
    Flood,
    TooLarge,
    Failed,
    Slow,
    Expired,
    Idle,
}

impl Close {
    /// The code and, for people, the reason.
    pub(super) fn frame(self) -> CloseFrame {
        let reason = match self {
            Self::GoingAway => "the server is stopping: connect again",
            Self::Protocol => "that is not how WebSocket works",
            Self::Binary => "frames are JSON text, not binary",
            Self::NotUtf8 => "text must be UTF-8",
            Self::Flood => "too many messages: slow down",
            Self::TooLarge => "the message is too large",
            Self::Failed => "the server failed: connect again and resume",
            Self::Slow => "frames were not read fast enough: connect again and resume",
            Self::Expired => "the token has expired: connect again with another",
            Self::Idle => "nothing arrived, not even an answer to a ping",
        };
        CloseFrame { code: CloseCode::from(self.code()), reason: reason.into() }
    }
    pub(super) fn code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Binary => 1003,
            Self::NotUtf8 => 1007,
            Self::Flood => 1008,
            Self::TooLarge => 1009,
            Self::Failed => 1011,
            Self::Slow => 1013,
            Self::Expired => 4401,
            Self::Idle => 4408,
        }
    }
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// We close it.
    Ours(Close),
    /// The client closed it, and was answered.
    Theirs,
    /// It is gone, without a word.
    Lost,
}

impl End {
    /// What an error of reading ends a connection with.
    pub(super) fn of(error: &tungstenite::Error) -> Self {
        use tungstenite::Error;
        match error {
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Lost,
            Error::Protocol(_) => Self::Ours(Close::Protocol),
            Error::Utf8(_) => Self::Ours(Close::NotUtf8),
            Error::Capacity(_) => Self::Ours(Close::TooLarge),
            Error::Io(error) if error.kind() == TOO_MANY_PIECES => Self::Ours(Close::Flood),
            _ => Self::Lost,
        }
    }
    /// For the metric: who ended it.
    pub(super) fn by(self) -> &'static str {
        match self {
            Self::Ours(_) => "server",
            Self::Theirs => "client",
            Self::Lost => "nobody",
        }
    }
    /// For the metric: which code. A client's own is the client's choice and no label; a
    /// connection that ends without one has 1006, as in RFC 6455.
    pub(super) fn code(self) -> u16 {
        match self {
            Self::Ours(close) => close.code(),
            Self::Theirs => 1000,
            Self::Lost => 1006,
        }
    }
}
