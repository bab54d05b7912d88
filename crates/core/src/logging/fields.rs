//! Which fields may be seen. A name that is not here is masked; adding one is a decision
//! about privacy: can its value ever be chosen by a user, or say something about one?

/// What a field's value must be to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word: an id, a code, a status, a name from configuration or code.
    Context,
    /// A number.
    Metric,
    /// Our own address, `127.0.0.1:7400`.
    Address,
    /// `1.12.0`.
    Version,
}

use Kind::{Address, Context, Metric, Version};

const SHOWN: &[(&str, Kind)] = &[
    // Ids
    ("correlation_id", Context),
    ("event_id", Context),
    ("id", Context),
    ("message_id", Context),
    ("node_id", Context),
    ("run_id", Context),
    ("session_id", Context),
    ("support_id", Context),
    // Names from configuration and code
    ("action", Context),
    ("category", Context),
    ("event_type", Context),
    // A key of the configuration, never its value.
    ("field", Context),
    ("file", Context),
    ("kind", Context),
    ("method", Context),
    ("name", Context),
    ("operation", Context),
    ("policy", Context),
    ("route", Context),
    ("schema", Context),
    ("signal", Context),
    ("sink", Context),
    ("step", Context),
    ("store", Context),
    ("tenant", Context),
    ("trigger", Context),
    ("workflow", Context),
    // States
    ("code", Context),
    ("fault", Context),
    ("held", Context),
    ("level", Context),
    ("mode", Context),
    ("outcome", Context),
    ("retryable", Context),
    ("state", Context),
    ("status", Context),
    // What and where we are
    ("listen", Address),
    ("version", Version),
    // Numbers
    ("attempt", Metric),
    ("attempts", Metric),
    ("bytes", Metric),
    ("commits", Metric),
    ("count", Metric),
    ("dead_letters", Metric),
    ("duration_ms", Metric),
    ("duration_us", Metric),
    ("epoch", Metric),
    ("events", Metric),
    ("failed", Metric),
    ("generation", Metric),
    ("in_flight", Metric),
    ("lag", Metric),
    ("limit", Metric),
    ("line", Metric),
    ("messages", Metric),
    ("pid", Metric),
    ("position", Metric),
    ("queued", Metric),
    ("remaining", Metric),
    ("runs", Metric),
    ("schema_version", Metric),
    ("status_code", Metric),
    ("steps", Metric),
    ("syncs", Metric),
    ("timers", Metric),
    ("turn", Metric),
    ("turns", Metric),
    ("wait_ms", Metric),
    ("waiting", Metric),
    ("workers", Metric),
];

/// What the field `name` may show, if anything.
pub(super) fn kind(name: &str) -> Option<Kind> {
    SHOWN.iter().find(|(shown, _)| *shown == name).map(|(_, kind)| *kind)
}
