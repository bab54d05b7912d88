//! For tests and benches: an upstream that speaks OpenAI's chat completions and embeddings,
//! Anthropic's messages and Amazon Bedrock, whole and as streams, and that fails exactly as
//! told.
//!
//! What it says is always the same ([`Plan::text`]), so that a test knows a whole answer when
//! it sees one. Asked to go on with an answer that broke off, it says what is left of it.

pub mod bedrock;
mod cutting;
mod plan;
mod serve;
pub mod signature;
mod speak;

pub use plan::{Fault, Plan};
pub use serve::{Mock, Seen};
