//! The bank's assistant: people write as they speak, the bank does what they meant or asks.
//!
//! [`Conversations`] is the door: what a user says becomes durable there, on the stream of
//! its session and in the run that works on it. The run (`exchange`) has it understood
//! (`understand`), checked against the books (`check`), confirmed, done by the bank's own
//! steps, and reported (`report`). [`Listener`] brings the replies to who is connected.

mod assistant;
mod check;
mod config;
mod conversations;
mod decisions;
mod exchange;
mod feed;
mod phrases;
mod proposal;
mod report;
pub mod session;
mod told;
pub mod understand;

pub use assistant::Assistant;
pub use config::AssistantConfig;
pub use conversations::{Accepted, Conversations, Message};
pub use exchange::{ASSISTANT, register};
pub use feed::{Listener, News, Progress};
pub use proposal::Proposal;
pub use told::Told;
