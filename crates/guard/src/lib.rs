//! What guards models and those who talk to them.
//!
//! So far: finding personal data and secrets in text ([`pii`]).

pub mod pii;
