//! What of a run may stand inside a commit. Large values are stored beside the log, once,
//! and referred to; what arrives together is delivered over as many turns as it needs.
//!
//! A commit has hard limits ([`limits`]). Deliveries fill at most a fourth of its bytes,
//! and a turn takes no further delivery once what it asks for fills another fourth: so only
//! what follows a single delivery can be too much for a commit.

use bytes::Bytes;
use steadfast_core::{Failure, secret::Secret};
use steadfast_log::{Payload, PayloadId, StreamId, limits};

use crate::{
    Data, StepOutcome,
    record::{Ask, Delivery, Parked, What},
    store::Visit,
};

/// Says which values are stored beside the log, and stores them.
#[derive(Debug, Clone)]
pub(crate) struct Spill {
    /// The longest value that stays inside.
    inline_bytes: usize,
    key: Secret<Vec<u8>>,
}

/// About how much of a commit something takes.
#[derive(Debug, Default, Clone, Copy)]
struct Size {
    bytes: usize,
    payloads: usize,
}

const SHARE: Size = Size { bytes: limits::INLINE_BYTES / 4, payloads: 16 };
/// What stands around a value: names, ids, a reference.
const AROUND: usize = 256;
/// What a value in parts may add inside.
const ADDED: usize = 1024;

impl Size {
    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, payloads: self.payloads + other.payloads }
    }
    fn within(self, share: Self) -> bool {
        self.bytes <= share.bytes && self.payloads <= share.payloads
    }
}

impl Spill {
    pub(crate) fn new(inline_bytes: usize, key: Secret<Vec<u8>>) -> Self {
        Self { inline_bytes: inline_bytes.min(SHARE.bytes), key }
    }

    /// Replaces the large values of a record on `stream` by references, and adds to
    /// `payloads` what they refer to.
    pub(crate) fn take_out(&self, record: &mut impl Visit, stream: &StreamId, payloads: &mut Vec<Payload>) {
        record.visit(&mut |data| {
            let inline_bytes = match data {
                // What it will come to was not known when the turn was filled.
                Data::Grown(..) => self.inline_bytes.min(ADDED),
                Data::Inline(_) | Data::Stored(..) => self.inline_bytes,
            };
            let data = data.own();
            let (id, bytes) = if let Data::Stored(id, _) = data {
                // It was read from another run's record, unresolved: this one refers to it too.
                (*id, None)
            } else {
                let Some(text) = data.spills(inline_bytes) else { return };
                let bytes = Bytes::copy_from_slice(text.as_bytes());
                let id = PayloadId::of(self.key.reveal(), stream.tenant().as_str(), &bytes);
                *data = Data::Stored(id, bytes.len() as u64);
                (id, Some(bytes))
            };
            let same = |payload: &&Payload| payload.id == id;
            if payloads.iter().filter(same).any(|payload| payload.stream == *stream) {
                return;
            }
            let known = payloads.iter().any(|payload| payload.id == id && payload.bytes.is_some());
            let bytes = bytes.filter(|_| !known);
            payloads.push(Payload { id, stream: stream.clone(), bytes });
        });
    }

    /// How many of these deliveries go into one turn; at least one, if there is any.
    pub(crate) fn fit<'a>(&self, deliveries: impl Iterator<Item = &'a Delivery>) -> usize {
        let mut size = Size::default();
        let fits = |delivery: &&Delivery| {
            size = size.add(self.delivery(delivery));
            size.within(SHARE)
        };
        deliveries.take_while(fits).count().max(1)
    }

    /// Has a turn asked for so much that the next delivery is left to the next turn? What
    /// starts children has a turn to itself: their number is limited, too.
    pub(crate) fn full(&self, asked: &[Ask]) -> bool {
        let size = asked.iter().map(|ask| self.ask(ask)).fold(Size::default(), Size::add);
        !size.within(SHARE) || asked.iter().any(|ask| matches!(ask.what, What::Child { .. }))
    }

    fn delivery(&self, delivery: &Delivery) -> Size {
        match delivery {
            Delivery::Result { step, outcome, failed_attempts } => {
                let failed: usize = failed_attempts.iter().map(|code| code.len() + 3).sum();
                let outcome = match outcome {
                    Ok(value) => self.value(value),
                    Err(_) => Size { bytes: FAILURE_BYTES, payloads: 0 },
                };
                outcome.add(Size { bytes: step.as_str().len() + failed + AROUND, payloads: 0 })
            }
            Delivery::Timer(step) => Size { bytes: step.as_str().len() + AROUND, payloads: 0 },
            // The message stands in an event of its own.
            Delivery::Message(_) | Delivery::Deadline => Size { bytes: 32, payloads: 0 },
        }
    }

    fn ask(&self, ask: &Ask) -> Size {
        let input = match &ask.what {
            What::Action { input, .. } | What::Child { input, .. } => self.value(input),
            What::Timer(_) | What::Signal(_) => Size::default(),
        };
        let undo = ask.undo.as_ref().map_or(Size::default(), |undo| self.value(&undo.input));
        input.add(undo).add(Size { bytes: ask.step.as_str().len() + AROUND, payloads: 0 })
    }

    fn value(&self, value: &Data) -> Size {
        match value {
            Data::Inline(raw) if value.spills(self.inline_bytes).is_none() => {
                Size { bytes: raw.get().len(), payloads: 0 }
            }
            Data::Inline(_) | Data::Stored(..) | Data::Grown(..) => Size { bytes: AROUND, payloads: 1 },
        }
    }
}

const FAILURE_BYTES: usize = 4 * 1024;

/// An outcome that can be recorded: a result that no store would take is a failure, and
/// what a failure tells is bounded.
pub(crate) fn recordable(outcome: StepOutcome) -> StepOutcome {
    match outcome {
        Ok(Data::Inline(raw)) if raw.get().len() > limits::PAYLOAD_BYTES => {
            let message = format!(
                "the result has {} bytes, at most {} can be recorded; store it elsewhere and return where",
                raw.get().len(),
                limits::PAYLOAD_BYTES
            );
            Err(Failure::internal("step.result_too_large", message))
        }
        Ok(value) => Ok(value),
        Err(failure) => Err(brief(failure)),
    }
}

/// A failure that fits anywhere.
pub(crate) fn brief(mut failure: Failure) -> Failure {
    clip(&mut failure.code, 128);
    clip(&mut failure.message, FAILURE_BYTES / 2);
    failure.data = failure.data.filter(|data| data.to_string().len() <= FAILURE_BYTES / 4);
    failure
}

impl Parked {
    /// The same for what it says.
    pub(crate) fn brief(mut self) -> Self {
        clip(&mut self.code, 128);
        clip(&mut self.message, FAILURE_BYTES / 2);
        self
    }
}

fn clip(text: &mut String, bytes: usize) {
    text.truncate(text.floor_char_boundary(bytes));
}
