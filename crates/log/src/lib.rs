//! The one log: every fact of the domain, in order, and what is derived from it.
//!
//! [`Log`] is the contract that all stores keep; [`MemoryLog`] is the smallest store
//! that keeps it and the model the others are held against.

mod cipher;
mod claim;
mod commit;
mod commit_of;
mod derived;
mod error;
mod event;
mod event_type;
mod events_through;
mod incarnations;
mod listing;
mod memory;
mod newest;
mod payload;
mod position;
mod segment;
mod store;
mod stream;
mod subscribe;
mod upcast;
mod wake_up;

#[cfg(feature = "conformance")]
mod between;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "conformance")]
mod mortal;

#[cfg(feature = "conformance")]
pub use between::Between;
pub use cipher::{Cipher, Plain};
pub use claim::{Claim, ClaimChange, ClaimKey};
pub use commit::{Append, Checkpoint, Commit, Committed, Expect, limits};
pub use commit_of::commit_of;
pub use derived::{Derived, Side, rebuild};
pub use error::{CommitError, ReadError};
pub use event::{NewEvent, Recorded};
pub use event_type::{EventType, written};
pub use events_through::events_through;
pub use incarnations::Incarnations;
pub use listing::{ListQuery, Listing, ListingChange, Listings};
pub use memory::{Leases, MemoryLog};
#[cfg(feature = "conformance")]
pub use mortal::Mortal;
pub use newest::newest;
pub use payload::{Payload, PayloadId};
pub use position::{Cursor, Position};
pub use segment::{Segment, SegmentHeader};
pub use store::{Identity, Lease, Log, Page, Reading, Snapshot};
pub use stream::StreamId;
pub use subscribe::{Subscription, follow};
pub use upcast::{DecodeError, Upcasters};
pub use wake_up::{DueQuery, WakeUp, WakeUpChange};
