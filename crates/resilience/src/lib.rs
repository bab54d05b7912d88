//! What stands between a caller and something that may be slow, down or overwhelmed.
//!
//! Each idea is a file that works alone; [`Policy`] puts them together by name:
//!
//! ```text
//! deadline → bulkhead → per attempt: rate limit → breaker → timeout → the call
//!                          ↑___________ retry, within its budget ___________|
//! ```
//!
//! The call takes its place in the bulkhead once. Every attempt passes the rate limit and
//! the breaker again, so that retries cannot get around either.

mod breaker;
mod bulkhead;
mod deadline;
mod error;
mod fallback;
mod policy;
mod rate_limit;
mod registry;
mod retry;
mod site;

pub use breaker::{Breaker, BreakerConfig, BreakerState, Permit};
pub use bulkhead::{Bulkhead, BulkheadConfig};
pub use deadline::{Deadline, Elapsed};
pub use error::{Error, retry_after, retryable_status, with_retry_after};
pub use fallback::{Answer, Fallback, Level, Unanswered};
pub use policy::{Policy, PolicyConfig};
pub use rate_limit::{RateLimit, RateLimitConfig};
pub use registry::{Breakers, Policies, Registry, UnknownPolicy};
pub use retry::{Retry, RetryConfig, Tries};
pub use site::Site;
