//! Calls to those who speak Anthropic's messages, or are reached by way of them: what is
//! asked as a message, and a message as what was asked for.

use bytes::Bytes;

use super::{Order, edits, no_such, same_api};
use crate::{
    answer::Usage,
    call::{Call, Operation},
    failure::Failed,
    wire::{
        self, Reader,
        translate::{
            StreamAsChat, StreamAsResponses, Through, responses_to_chat, to_messages, whole_as_chat,
            whole_as_response,
        },
    },
};

/// What is asked. `output_max` is the length of an answer that nobody said anything about.
pub(super) fn asked(order: &Order<'_>, output_max: u64) -> Result<Bytes, Failed> {
    let call = order.call;
    match call.operation {
        Operation::Messages => Ok(same_api(order, false).apply(&call.body)),
        Operation::Chat => {
            let body = edits(order, false).apply(&call.body);
            to_messages(&body, order.model, output_max)
        }
        Operation::Responses => {
            let body = edits(order, false).apply(&call.body);
            let chat = responses_to_chat(&body, order.model, false)?;
            to_messages(&chat, order.model, output_max)
        }
        Operation::Embeddings | Operation::Transcription => Err(no_such(call.operation)),
    }
}

/// A whole answer, in the API that was called. `created` is in seconds since the epoch.
pub(super) fn whole(call: &Call, body: Bytes, created: i64) -> Result<(Bytes, Option<Usage>), Failed> {
    match call.operation {
        Operation::Chat => whole_as_chat(&body, created),
        Operation::Responses => {
            let (chat, usage) = whole_as_chat(&body, created)?;
            Ok((whole_as_response(&chat)?.0, usage))
        }
        Operation::Messages | Operation::Embeddings | Operation::Transcription => {
            let usage = wire::messages::read_whole(&body)?;
            Ok((body, usage))
        }
    }
}

/// The same for a stream.
pub(super) fn reader(call: &Call, created: i64) -> Box<dyn Reader> {
    match call.operation {
        Operation::Chat => Box::new(StreamAsChat::new(created, call.asked.usage_in_stream)),
        Operation::Responses => {
            Box::new(Through { first: StreamAsChat::new(created, true), then: StreamAsResponses::default() })
        }
        _ => Box::new(wire::messages::PassThrough::default()),
    }
}
