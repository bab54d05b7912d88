use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::config::{Period, Size, positive};

use crate::WsConfig;

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Where HTTP is served. Addresses other than loopback are open to the network, and
    /// tokens are then sent in the clear: put TLS in front.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The largest body of a request. A larger value lets each connection hold as much
    /// memory.
    pub body_max: Size,
    /// How long a request's head and body may take to arrive. Idle connections are closed
    /// after as long.
    #[serde(deserialize_with = "positive")]
    pub read_timeout: Period,
    /// How long a client may read nothing while something waits to be sent to it. Then its
    /// connection is closed, as if it had gone away.
    #[serde(deserialize_with = "positive")]
    pub write_timeout: Period,
    /// How long a request may take in all; longer than `wait_max`.
    #[serde(deserialize_with = "positive")]
    pub request_timeout: Period,
    /// The longest that a request may ask to wait for an outcome (`Prefer: wait=N`).
    pub wait_max: Period,
    /// Connections at once; further ones wait to be accepted.
    pub connections_max: NonZeroU32,
    /// How long a stopping server lets requests end.
    pub grace: Period,
    /// Conversations over WebSocket, on `/ws`.
    pub ws: WsConfig,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7400)),
            body_max: Size::bytes(1 << 20),
            read_timeout: Duration::from_secs(30).into(),
            write_timeout: Duration::from_secs(30).into(),
            request_timeout: Duration::from_secs(60).into(),
            wait_max: Duration::from_secs(30).into(),
            connections_max: NonZeroU32::MIN.saturating_add(4_095),
            grace: Duration::from_secs(10).into(),
            ws: WsConfig::default(),
        }
    }
}
