use bytes::Bytes;

use crate::{DecodeError, Recorded};

/// A type of event, as the crate that owns it registers it with [`event_types!`]: nothing
/// is on the log whose reading and writing cannot be tried from here.
///
/// [`event_types!`]: crate::event_types
#[derive(Debug, Clone, Copy)]
pub struct EventType {
    /// `run.started`
    pub kind: &'static str,
    /// The shape that is written today.
    pub schema: u16,
    /// Reads a body of this or an earlier shape, and writes it as today's.
    pub rewrite: fn(&Recorded) -> Result<Bytes, DecodeError>,
}

impl EventType {
    /// May this binary read an event of this type, by the number of its shape?
    pub fn check(&self, recorded: &Recorded) -> Result<(), DecodeError> {
        DecodeError::check_known(recorded, self.schema)
    }
}

/// Declares the types of events of a crate: a module `kind` with their names, and `EVENTS`
/// with how each is read (by `decode`, in scope as `fn<T>(&Recorded) -> Result<T,
/// DecodeError>`) and written.
#[macro_export]
macro_rules! event_types {
    (schema $schema:expr; $($(#[$doc:meta])* $name:ident = $kind:literal: $body:ty;)*) => {
        /// The types of events.
        pub mod kind {
            $($(#[$doc])* pub const $name: &str = $kind;)*
        }
        /// Every one of them.
        pub const EVENTS: &[$crate::EventType] = &[$(
            $crate::EventType {
                kind: kind::$name,
                schema: $schema,
                rewrite: |recorded| decode::<$body>(recorded).map(|body| $crate::written(&body)),
            },
        )*];
    };
}

/// A body as it stands on the log.
#[expect(clippy::expect_used, reason = "bodies have string keys and no fallible fields")]
pub fn written<T: serde::Serialize>(body: &T) -> Bytes {
    serde_json::to_vec(body).expect("plain data is JSON").into()
}
