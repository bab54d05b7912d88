//! Amazon's event streams: messages with a length, headers, a payload and two checksums.

use aws_smithy_eventstream::frame::read_message_from;
use aws_smithy_types::{event_stream::Message, str_bytes::StrBytes};
use bytes::{Buf as _, Bytes, BytesMut};
use steadfast_core::shown;

use super::errors::named;
use crate::{
    failure::{Class, Failed},
    wire::{WORDS_MAX, sse::Event, words},
};

/// The largest message; and the smallest, which has neither headers nor payload.
const SIZES: std::ops::RangeInclusive<usize> = 16..=(32 << 20);

/// Finds messages in bytes as they come.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pending: BytesMut,
}

impl Frames {
    /// Takes what came.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }
    /// The next event, if it is all there. A message that is an error is one of ours.
    pub(crate) fn next_event(&mut self) -> Result<Option<Event>, Failed> {
        let Some(mut head) = self.pending.get(..4) else { return Ok(None) };
        let size = usize::try_from(head.get_u32()).unwrap_or(usize::MAX);
        if !SIZES.contains(&size) {
            return Err(Failed::malformed("a message of the provider's stream has an impossible size"));
        }
        if self.pending.len() < size {
            return Ok(None);
        }
        let message = read_message_from(self.pending.split_to(size).freeze());
        let message = message.map_err(|error| {
            Failed::malformed(format!("a message of the provider's stream is broken: {error}"))
        })?;
        match text(&message, ":message-type") {
            Some("event") => {
                let name = text(&message, ":event-type").unwrap_or_default();
                let name = Bytes::copy_from_slice(name.as_bytes());
                Ok(Some(Event { name, data: message.payload().clone(), raw: Bytes::new() }))
            }
            Some("exception") => {
                let said = words(message.payload());
                Err(failed(text(&message, ":exception-type"), said.as_deref()))
            }
            _ => Err(failed(text(&message, ":error-code"), text(&message, ":error-message"))),
        }
    }
}

fn text<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    let header = message.headers().iter().find(|header| header.name().as_str() == name)?;
    header.value().as_string().ok().map(StrBytes::as_str)
}

fn failed(name: Option<&str>, said: Option<&str>) -> Failed {
    let (name, said) = (name.unwrap_or("no name"), said.unwrap_or("no reason given"));
    let class = named(name, said.as_bytes()).unwrap_or(Class::Unwell);
    let (name, said) = (shown(name, 60), shown(said, WORDS_MAX));
    Failed::new(class, format!("the provider's stream ended with an error: {name}: {said}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use steadfast_models_mock::bedrock::{event, framed, message};

    use super::*;

    fn all(chunks: &[&[u8]]) -> Result<Vec<(Bytes, Bytes)>, Failed> {
        let mut frames = Frames::default();
        let mut events = Vec::new();
        for chunk in chunks {
            frames.push(chunk);
            while let Some(event) = frames.next_event()? {
                events.push((event.name, event.data));
            }
        }
        Ok(events)
    }

    #[test]
    fn errors_in_a_stream_have_their_class() {
        let exception = |name: &str| {
            let headers = [(":exception-type", name), (":message-type", "exception")];
            all(&[&framed(&headers, br#"{"message":"too many"}"#)]).expect_err(name)
        };
        let throttled = exception("throttlingException");
        assert_eq!(throttled.class, Class::Limited);
        assert!(throttled.message.ends_with("throttlingException: too many"), "{}", throttled.message);
        for name in ["modelStreamErrorException", "serviceUnavailableException", "brandNewException"] {
            assert_eq!(exception(name).class, Class::Unwell, "{name}");
        }
        assert_eq!(exception("validationException").class, Class::Refused);
        let headers =
            [(":message-type", "error"), (":error-code", "InternalServer"), (":error-message", "oh")];
        let error = all(&[&framed(&headers, b"")]).expect_err("an error");
        assert_eq!(error.class, Class::Unwell);
        assert!(error.message.ends_with("InternalServer: oh"), "{}", error.message);
    }

    #[test]
    fn what_is_no_message_is_told_at_once() {
        for bytes in [&b"data: {}\n\n........"[..], b"\0\0\0\x0f\0\0\0\0........", b"\xff\xff\xff\xff"] {
            assert_eq!(all(&[bytes]).expect_err("no message").class, Class::Malformed);
        }
    }

    proptest! {
        #[test]
        fn where_the_network_cuts_makes_no_difference_and_no_changed_bit_passes(
            events in prop::collection::vec(("[a-z]{1,9}", prop::collection::vec(any::<u8>(), 0..20)), 1..6),
            cuts in prop::collection::vec(0..300_usize, 0..8), flip in (0..10_000_usize, 0..8_u32),
        ) {
            let bytes: Vec<u8> = events.iter().flat_map(|(name, data)| event(name, data)).collect();
            let mut places: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
            places.sort_unstable();
            let mut chunks = Vec::new();
            let mut at = 0;
            for place in places {
                chunks.push(&bytes[at..place]);
                at = place;
            }
            chunks.push(&bytes[at..]);
            let expected: Vec<_> =
                events.iter().map(|(name, data)| (name.clone().into(), data.clone().into())).collect();
            prop_assert_eq!(all(&chunks), Ok(expected.clone()));
            let mut changed = bytes;
            let place = flip.0 % changed.len();
            changed[place] ^= 1 << flip.1;
            // A changed size may wait for more, which the stream's end then tells.
            if let Ok(read) = all(&[&changed]) {
                prop_assert!(read.len() < expected.len());
                prop_assert!(expected.starts_with(&read));
            }
        }

        #[test]
        fn any_bytes_do_no_harm(head in prop::collection::vec(any::<u8>(), 0..40), tail in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = all(&[&head, &tail]);
            // With checksums that are right, too.
            let _ = all(&[&message(&head, &tail)]);
        }
    }
}
