//! From one API to another by way of a third.

use std::collections::VecDeque;

use crate::{
    answer::{Frame, Sense},
    failure::Failed,
    wire::{
        Reader,
        sse::{Event, Parser},
    },
};

/// What `first` makes of a stream is what `then` reads.
pub(crate) struct Through<R, T> {
    pub(crate) first: R,
    pub(crate) then: T,
}

impl<R: Reader, T: Reader> Through<R, T> {
    fn pass(&mut self, between: VecDeque<Frame>, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        for frame in between {
            if frame.sense == Sense::Idle {
                frames.push_back(frame);
                continue;
            }
            let mut parser = Parser::default();
            parser.push(&frame.bytes);
            if let Some(usage) = frame.usage {
                self.then.told(usage);
            }
            while let Some(event) =
                parser.next_event().map_err(|error| Failed::malformed(error.to_string()))?
            {
                self.then.event(event, frames)?;
            }
        }
        Ok(())
    }
}

impl<R: Reader, T: Reader> Reader for Through<R, T> {
    fn event(&mut self, event: Event, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        let mut between = VecDeque::new();
        self.first.event(event, &mut between)?;
        self.pass(between, frames)
    }
    fn end(&mut self, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        let mut between = VecDeque::new();
        self.first.end(&mut between)?;
        self.pass(between, frames)
    }
}
