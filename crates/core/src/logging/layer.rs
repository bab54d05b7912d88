use std::{fmt, io::Write, net::SocketAddr, sync::Mutex};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    layer::Context,
    layer::Layer,
    registry::{LookupSpan, Scope},
};

use super::{
    LogConfig,
    fields::{Kind, kind},
    scrub::scrub,
};
use crate::{Time, World};

const MASKED: &str = "[masked]";
/// The longest text that is shown, in bytes; names and ids are shorter.
const WORD_MAX: usize = 120;

/// A layer that writes one JSON object a line to `out`.
///
/// Fields of the spans around an event are part of its line; the innermost wins.
pub struct JsonLines<W> {
    out: Mutex<W>,
    world: World,
    third_party: bool,
}

impl<W> JsonLines<W> {
    /// A layer over any writer; timestamps come from `world`.
    pub fn new(out: W, config: &LogConfig, world: World) -> Self {
        Self { out: Mutex::new(out), world, third_party: config.third_party }
    }
    fn read(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Fields)) -> Fields {
        let ours = ours(metadata.target());
        let mut fields = Fields { ours, ..Fields::default() };
        if ours || self.third_party {
            record(&mut fields);
        }
        fields
    }
}

/// Our crates are named `steadfast_…`, the binary `steadfast`.
fn ours(target: &str) -> bool {
    target.strip_prefix("steadfast").is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', ':']))
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: Time,
    level: &'static str,
    message: &'a str,
    component: &'a str,
    correlation_id: Value,
    context: Map<String, Value>,
    metrics: Map<String, Value>,
}

/// What may be seen of the fields of one event or span.
#[derive(Default)]
struct Fields {
    ours: bool,
    message: Option<String>,
    context: Map<String, Value>,
    metrics: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let (map, value) = match (kind(name), value) {
            (Some(Kind::Metric), Value::Number(number)) => (&mut self.metrics, Value::Number(number)),
            (Some(Kind::Context), value) => (&mut self.context, word(value)),
            (Some(Kind::Address), Value::String(text)) if text.parse::<SocketAddr>().is_ok() => {
                (&mut self.context, text.into())
            }
            (Some(Kind::Version), Value::String(text)) if is_version(&text) => {
                (&mut self.context, text.into())
            }
            _ => (&mut self.context, MASKED.into()),
        };
        map.insert(name.into(), value);
    }
    fn absorb(&mut self, inner: Self) {
        self.context.extend(inner.context);
        self.metrics.extend(inner.metrics);
    }
}

/// A value that may be seen if it is one harmless word.
fn word(value: Value) -> Value {
    let text = match &value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:{}".contains(c);
    if text.len() <= WORD_MAX && text.chars().all(plain) && scrub(&text) == text {
        value
    } else {
        MASKED.into()
    }
}

fn is_version(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.len() <= 3 && part.parse::<u16>().is_ok())
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            // Not a literal: tracing hands those over as format arguments.
            self.message = Some(if self.ours { "[formatted message withheld]".into() } else { scrub(value) });
        } else {
            self.put(field, value.into());
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Pieces::default();
        let _ = fmt::write(&mut text, format_args!("{value:?}"));
        if field.name() != "message" {
            self.put(field, text.text.into());
        } else if !self.ours || text.count <= 1 {
            self.message = Some(scrub(&text.text));
        } else {
            self.message = Some("[formatted message withheld]".into());
        }
    }
}

/// Text, and in how many pieces it came: a constant sentence comes in one.
#[derive(Default)]
struct Pieces {
    text: String,
    count: usize,
}

impl fmt::Write for Pieces {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.text.push_str(piece);
        self.count += 1;
        Ok(())
    }
}

impl<W, S> Layer<S> for JsonLines<W>
where
    W: Write + Send + 'static,
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let fields = self.read(attributes.metadata(), |fields| attributes.record(fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let later = self.read(span.metadata(), |fields| values.record(fields));
            if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
                fields.absorb(later);
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let fields = self.read(metadata, |fields| event.record(fields));
        let mut all = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(outer) = span.extensions().get::<Fields>() {
                all.context.extend(outer.context.clone());
                all.metrics.extend(outer.metrics.clone());
            }
        }
        let message = fields.message.clone();
        all.absorb(fields);
        let line = Line {
            timestamp: self.world.now(),
            level: metadata.level().as_str(),
            message: message.as_deref().unwrap_or("third-party message withheld"),
            component: metadata.target(),
            correlation_id: all.context.remove("correlation_id").unwrap_or_default(),
            context: all.context,
            metrics: all.metrics,
        };
        // Nothing can be done about a line that does not get out; the work goes on.
        if let Ok(mut bytes) = serde_json::to_vec(&line) {
            bytes.push(b'\n');
            let mut out = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _ = out.write_all(&bytes);
        }
    }
}
