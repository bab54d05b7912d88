//! What every other crate may lean on: ids, time, chance, money, errors,
//! configuration, canonical defaults, secrets and logging.
//!
//! Nothing here knows a store, a wire format of ours or a network.

pub mod canonical;
pub mod chance;
pub mod config;
pub mod defaults;
pub mod error;
pub mod id;
pub mod logging;
pub mod money;
pub mod mutant;
pub mod observe;
pub mod principal;
pub mod secret;
pub mod strict;
pub mod time;
mod world;

pub use error::{Coded, Failure, Fault, shown};
pub use id::{CorrelationId, EventId, NodeId, RequestId, RunId, SessionId};
pub use money::{Currency, Money};
pub use mutant::{Mutant, planted};
pub use principal::{Principal, Role, TenantId};
pub use time::{Clock, Time};
pub use world::World;
