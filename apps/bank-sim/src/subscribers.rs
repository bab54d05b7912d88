//! Those who react to events: one that notes all it is given, one that cannot bear some of
//! it, and one that starts runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;
use steadfast_bank::events::kind;
use steadfast_core::Failure;
use steadfast_engine::{Data, Deliver, Reaction, Registry, Start, Subscriber};
use steadfast_log::Recorded;
use steadfast_sim::Fate;

use crate::{outside::Hands, workflows::Order};

/// The events that the one was given: stream and version, in the order given.
#[derive(Clone, Default)]
pub(crate) struct Delivered(Arc<Mutex<Vec<(String, u64)>>>);

impl Delivered {
    fn lock(&self) -> MutexGuard<'_, Vec<(String, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn all(&self) -> Vec<(String, u64)> {
        self.lock().clone()
    }
}

impl Deliver for Delivered {
    fn deliver<'a>(&'a self, event: &'a Recorded) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.lock().push((event.stream.to_string(), event.version));
            Ok(())
        })
    }
}

/// The events that the noting one wants.
pub(crate) const WANTED: [&str; 3] = ["book.entry", "run.started", "run.ended"];

/// Refuses every third event that it is given, at random, and does not survive others.
struct Picky(Fate);

impl Deliver for Picky {
    fn deliver<'a>(&'a self, _: &'a Recorded) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            match self.0.below(6) {
                0 => Err(Failure::refused("sim.unwanted", "this is not for me")),
                1 => panic!("{}: a sink falls over", crate::ON_PURPOSE),
                _ => Ok(()),
            }
        })
    }
}

/// The workflow that is started whenever a customer is deactivated.
pub(crate) const FOLLOW_UP: &str = "booking";
/// The label of such a run, with the event that it was started for.
pub(crate) const BECAUSE_OF: &str = "because-of";

fn follow_up(event: &Recorded) -> Result<Option<Reaction>, Failure> {
    let body: Value = serde_json::from_slice(&event.event.body).unwrap_or_default();
    assert!(event.event.kind != kind::CUSTOMER_ACTIVATED, "{}: a trigger falls over", crate::ON_PURPOSE);
    let by = body["by"].as_str().unwrap_or("system").to_owned();
    let input = Data::of(&Order { size: 1, ..Order::default() })?;
    let mut start = Start::new(event.stream.tenant(), by, FOLLOW_UP, input);
    start.labels.insert(BECAUSE_OF.into(), event.event.id.to_string());
    Ok(Some(Reaction::Start(start)))
}

pub(crate) fn register(registry: &mut Registry, hands: &Hands) {
    let wanted = WANTED.map(str::to_owned).to_vec();
    registry.subscriber(Subscriber::sink("sim", wanted, Arc::new(hands.traces.delivered.clone())));
    let standing = [kind::CUSTOMER_DEACTIVATED, kind::CUSTOMER_ACTIVATED].map(str::to_owned).to_vec();
    registry.subscriber(Subscriber::trigger("follow-up", standing, follow_up));
    // The code of before knew nothing of this one.
    if !hands.site.old_code {
        let few = vec![kind::CONTACT_REMOVED.to_owned(), kind::HOLD_RELEASED.to_owned()];
        registry.subscriber(Subscriber::sink("picky", few, Arc::new(Picky(hands.site.fate.clone()))));
    }
}
