use std::{num::NonZeroU32, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::config::{Period, Size, positive};

use super::Origin;

/// `[server.ws]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WsConfig {
    /// Web pages from elsewhere that may connect, as `https://app.example.com`. Pages of
    /// the server's own host always may, and so may what is not a browser.
    #[schemars(with = "Vec<String>")]
    pub origins: Vec<Origin>,
    /// The largest message of a client. A larger value lets each connection hold as much
    /// memory.
    pub message_max: Size,
    /// The longest `text` of a message.
    pub text_max: Size,
    /// Frames that may wait for a client that reads slowly; then it is disconnected and
    /// may resume. A larger value lets each connection hold as many in memory.
    pub outbox_frames: NonZeroU32,
    /// Messages a second of one connection in the long run. Pings and pongs are counted
    /// for themselves, under the same limit.
    pub messages_per_second: NonZeroU32,
    /// Messages that may come at once after a pause. As many again are refused with
    /// `rate_limited` before the connection is closed.
    pub messages_burst: NonZeroU32,
    /// How long a connection stays open when nothing whole arrives. The server pings three
    /// times as often, so clients that live need do nothing.
    #[serde(deserialize_with = "positive")]
    pub idle_timeout: Period,
    /// How long a client may take to read one frame, and to close.
    #[serde(deserialize_with = "positive")]
    pub write_timeout: Period,
    /// Open connections of one user.
    pub connections_per_user: NonZeroU32,
}

impl Default for WsConfig {
    fn default() -> Self {
        let count = |more: u32| NonZeroU32::MIN.saturating_add(more - 1);
        Self {
            origins: Vec::new(),
            message_max: Size::bytes(64 << 10),
            text_max: Size::bytes(4 << 10),
            outbox_frames: count(256),
            messages_per_second: count(20),
            messages_burst: count(60),
            idle_timeout: Duration::from_secs(60).into(),
            write_timeout: Duration::from_secs(10).into(),
            connections_per_user: count(1_000),
        }
    }
}
