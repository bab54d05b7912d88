//! What others write to the stream of a run that is driven here.

use steadfast_core::{EventId, Mutant, planted};
use steadfast_log::Recorded;

use super::{Input, Live, Stop};
use crate::{
    record::{Claimed, Message, SCHEMA, Sent, kind},
    store::load_values,
};

impl Live {
    pub(super) async fn take(&mut self, input: Input) -> Result<(), Stop> {
        match input {
            Input::Message(version, message) if version == self.head + 1 => {
                self.head = version;
                self.due = None;
                if self.is_new(&message) {
                    self.pending.push_back((version, message));
                }
                Ok(())
            }
            Input::Message(version, _) if version <= self.head => Ok(()),
            Input::Message(..) | Input::Refresh => self.refresh(None).await.map(drop),
        }
    }

    /// Results may stand in a stream twice.
    fn is_new(&mut self, message: &Message) -> bool {
        !matches!(message.what, Sent::Result { .. })
            || self.seen.insert(message.id)
            || planted(Mutant::MessageTwice)
    }

    /// Reads what others appended. `true`: the event `own` is among it.
    pub(super) async fn refresh(&mut self, own: Option<EventId>) -> Result<bool, Stop> {
        let mut found = false;
        loop {
            let page = self.engine.log.read_stream(&self.facts.stream, self.head + 1, 200).await;
            let page = page.map_err(|_| Stop::StoreAway)?;
            let Some(last) = page.last() else {
                return Ok(found);
            };
            let head = last.version;
            for recorded in &page {
                if Some(recorded.event.id) == own {
                    found = true;
                    continue;
                }
                self.read_one(recorded).await?;
            }
            self.head = head;
        }
    }

    async fn read_one(&mut self, recorded: &Recorded) -> Result<(), Stop> {
        self.due = None;
        // What this binary does not understand is judged when the run is taken up again.
        if recorded.event.schema > SCHEMA {
            return Err(Stop::Lost);
        }
        let body = &recorded.event.body;
        match recorded.event.kind.as_ref() {
            kind::MESSAGE => {
                let mut message: Message = serde_json::from_slice(body).map_err(|_| Stop::Lost)?;
                if self.is_new(&message) {
                    let loaded = load_values(&*self.engine.log, &mut message).await;
                    loaded.map_err(|_| Stop::StoreAway)?;
                    self.pending.push_back((recorded.version, message));
                }
                Ok(())
            }
            kind::CLAIMED | kind::TURN if planted(Mutant::EpochUnchecked) => Ok(()),
            kind::CLAIMED => {
                let claimed: Claimed = serde_json::from_slice(body).map_err(|_| Stop::Lost)?;
                if claimed.epoch > self.epoch { Err(Stop::Lost) } else { Ok(()) }
            }
            kind::NOTED | kind::TOLD => Ok(()),
            kind::ENDED => Err(Stop::Ended),
            // Anything else is a turn or an end that is not ours: the run has another owner.
            _ => Err(Stop::Lost),
        }
    }
}
