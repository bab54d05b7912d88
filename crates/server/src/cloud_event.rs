use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;
use steadfast_core::Time;
use steadfast_log::{Identity, Recorded};

/// An event as it leaves: CloudEvents 1.0, JSON. What is ours beyond that standard are
/// extension attributes, whose names it wants in lower case.
#[derive(Debug, Clone, Serialize)]
pub struct CloudEvent {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    /// Its stream: `TENANT/CATEGORY/NAME`.
    subject: String,
    time: Time,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    /// Its place in its stream, from 1.
    streamversion: u64,
    /// Its place in the log: a cursor.
    position: String,
    /// The version of the shape of `data`.
    dataschemaversion: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessionid: Option<String>,
}

impl CloudEvent {
    /// The event as others see it. A body that is not JSON goes as base64; an empty one
    /// not at all.
    pub fn of(log: &Identity, recorded: &Recorded) -> Self {
        let event = &recorded.event;
        let data = serde_json::from_slice::<Box<RawValue>>(&event.body).ok();
        let binary = data.is_none() && !event.body.is_empty();
        Self {
            specversion: "1.0",
            id: event.id.to_string(),
            source: format!("urn:steadfast:{}", log.log_id),
            kind: event.kind.clone().into_owned(),
            subject: recorded.stream.as_str().into(),
            time: event.time,
            datacontenttype: if binary { "application/cbor" } else { "application/json" },
            data,
            data_base64: binary.then(|| STANDARD.encode(&event.body)),
            streamversion: recorded.version,
            position: recorded.position.to_string(),
            dataschemaversion: event.schema,
            causationid: event.causation.map(|id| id.to_string()),
            correlationid: event.correlation.map(|id| id.to_string()),
            sessionid: event.session.map(|id| id.to_string()),
        }
    }
}
