//! The model gateway: every call of a model, whoever answers it.
//!
//! Clients speak OpenAI's API or Anthropic's; so do providers, and either may speak either.
//! A call is read once ([`call`]), passes the stages of `pipeline`, and is answered by a
//! provider that a route finds ([`Models`]). `serve` puts it on HTTP.
//!
//! Bodies stay bytes: what is not acted on is neither parsed nor changed, so that fields
//! nobody here knows pass unharmed and prompts that a provider has cached stay the same.

mod admission;
pub mod answer;
mod books;
pub mod budget;
mod cache;
pub mod call;
mod config;
mod current;
mod degrade;
pub mod failure;
pub mod keys;
mod models;
mod providers;
pub mod record;
mod rejected;
mod route;
mod screen;
pub mod serve;
mod stop;
mod transcript;
mod usd;
mod vitals;
pub mod wire;

pub use admission::{QueueState, Waiting};
pub use answer::{Answer, Degraded};
pub use books::Spending;
pub use cache::{CacheError, CacheStats, FileError, Home, Unfit, WarmLine, Which};
pub use call::{Call, CallOptions, Caller, Operation};
pub use config::{
    Action, AdmissionConfig, BedrockConfig, BudgetConfig, CacheConfig, CanaryConfig, DegradeConfig,
    KeepConfig, Kind, KindsConfig, LimitConfig, LongPriceConfig, ModelsConfig, OrderBy, Per, PriceConfig,
    ProviderConfig, RecordMode, RecordsConfig, RouteConfig, ScreenConfig, ShareWith, SimilarConfig,
    SimpleConfig, TargetConfig, TemplateConfig, Thinks, TimeoutConfig, Window,
};
pub use current::Current;
pub use degrade::Degradation;
pub use models::{Health, Models, SetupError};
pub use providers::ProviderError;
pub use rejected::Rejected;
pub use route::{Found, Probe, ProviderView, RouteView, TargetView};
pub use transcript::Transcript;
pub use usd::Usd;
pub use vitals::{Alarm, Reason};
