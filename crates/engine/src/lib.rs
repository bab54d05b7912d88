//! The durable engine: runs advance in turns, each turn is one commit, and effects leave
//! only after it.
//!
//! A workflow is an async function over a [`Ctx`]; what it asks for is performed by
//! registered actions. `machine` decides, `live` performs, `history` remembers,
//! `recovery` brings back.

mod accept;
mod action;
mod audit;
mod check;
mod child;
mod config;
mod context;
mod control;
mod data;
mod dead_letter;
mod effects;
mod ending;
mod engine;
mod execute;
mod explain;
mod grown;
mod history;
mod live;
mod machine;
mod orphan;
mod outside;
mod react;
pub mod record;
mod recovery;
mod signal;
mod slots;
mod spill;
mod step;
mod stopping;
mod store;
mod timers;
mod undo;
mod undo_letter;
mod update;
mod view;
mod workflow;

pub use accept::{Accepted, Start, key_reused};
pub use action::{Action, ActionOptions, Record, Recording};
pub use audit::Audit;
pub use check::{CheckReport, Diverged};
pub use config::EngineConfig;
pub use context::{Ctx, Either, Request, RunInfo, StepRequest};
pub use data::Data;
pub use dead_letter::{DEAD_LETTER, DeadLetter, DeadLetterId, DeadLetterView, LetterKind};
pub use engine::{Engine, WeakEngine};
pub use explain::{Explanation, Line};
pub use grown::Grown;
pub use outside::OutsideStep;
pub use react::{Deliver, Reaction, Subscriber};
pub use record::{Priority, Status};
pub use signal::Signal;
pub use step::{EffectKey, StepId, StepOutcome, StepTask, effect_claim, undo_key};
pub use store::verify_snapshot;
pub use update::{Settled, Update};
pub use view::RunView;
pub use workflow::{Registry, Workflow, WorkflowOptions};
