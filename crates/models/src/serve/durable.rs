//! Calls that outlive the request that made them: responses in the background, and steps of runs.
//!
//! The gateway has no log for them. Whoever mounts it on a node brings one, as a [`Durable`].

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture, stream};
use http::{HeaderMap, StatusCode};
use steadfast_core::Failure;

use super::{Door, request_id, write};
use crate::{
    Answer, Caller, Models, Operation, Rejected, Transcript,
    answer::{Body, Frame, Frames, Sense, Usage},
    call::{Api, Call, Unreadable},
    models::in_time,
    rejected::rejected_event,
    wire::responses::Sent,
};

/// Keeps calls and answers beyond a request, a connection and a process.
pub trait Durable: Send + Sync {
    /// Accepts a response that nobody waits for. When this returns, it survives.
    fn begin(&self, call: Call, headers: HeaderMap) -> BoxFuture<'_, Result<Begun, Rejected>>;
    /// How a response stands: the JSON of its object.
    fn show<'a>(&'a self, caller: &'a Caller, id: &'a str) -> BoxFuture<'a, Result<Bytes, Rejected>>;
    /// Gives a response up, if it has not ended, and says how it stands then.
    fn cancel<'a>(&'a self, caller: &'a Caller, id: &'a str) -> BoxFuture<'a, Result<Bytes, Rejected>>;
    /// The run that a call names, as its id is written, if the caller may add to it.
    fn run<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Arc<str>, Rejected>>;
    /// What is recorded as the step of a run that a call names, or the place for it.
    fn step<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Step, Rejected>>;
    /// The longest answer that can be recorded, in bytes.
    fn longest(&self) -> usize;
}

/// An accepted response.
#[derive(Debug)]
pub struct Begun {
    /// The JSON of its object.
    pub object: Bytes,
    /// It was accepted before, under the same idempotency key.
    pub replayed: bool,
}

/// A step of a run.
pub enum Step {
    /// It was done before.
    Recorded(Transcript),
    /// It was not. Until this is called or dropped, nobody else on this node does it.
    New(Place),
}

/// Records an answer, and says what is recorded then: if somebody else was faster, their answer.
pub type Place = Box<dyn FnOnce(Transcript) -> BoxFuture<'static, Result<Transcript, Rejected>> + Send>;

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Recorded(_) => "Recorded",
            Self::New(_) => "New",
        })
    }
}

fn refused(param: &str, message: &str) -> Rejected {
    let failure = Failure::refused("request.invalid", message);
    Rejected { param: Some(param.into()), ..Rejected::new(failure, StatusCode::BAD_REQUEST) }
}

/// Is this response to be made in the background?
pub(super) fn is_background(call: &Call) -> bool {
    call.operation == Operation::Responses && call.asked.background
}

/// Sees that a call names no run but the caller's own, and that every run has one name: it pays.
pub(super) async fn check_run(door: &Door, call: &mut Call) -> Result<(), Rejected> {
    if call.options.run.is_none() {
        return Ok(());
    }
    let Some(durable) = &door.durable else {
        return Err(refused("x-steadfast-run", "no runs are known here"));
    };
    call.options.run = Some(durable.run(call).await?);
    Ok(())
}

#[derive(serde::Deserialize)]
struct Store {
    store: Option<bool>,
}

/// A response that nobody waits for.
pub(super) async fn begin(
    door: &Door,
    models: &Models,
    call: Call,
    headers: HeaderMap,
) -> Result<Begun, Rejected> {
    let Some(durable) = &door.durable else {
        call.check_foreground()?;
        return Err(refused("background", "nothing is done in the background here"));
    };
    if call.asked.stream {
        let message =
            "a response in the background is not streamed: leave `stream` out, and ask for it with GET";
        return Err(refused("stream", message));
    }
    if call.options.step.is_some() {
        let message = "a response in the background is a run of its own, and cannot be a step of another";
        return Err(refused("background", message));
    }
    let store: Store =
        serde_json::from_slice(&call.body).map_err(|error| Unreadable::Body(error.to_string()))?;
    if store.store == Some(false) {
        return Err(refused("store", "a response in the background is stored: `store` must not be false"));
    }
    models.check_route(&call)?;
    durable.begin(call, headers).await
}

pub(super) fn begun(begun: Begun, id: &str) -> Response {
    let mut response = object(Ok(begun.object), id);
    if begun.replayed {
        response.headers_mut().insert("idempotency-replayed", http::HeaderValue::from_static("true"));
    }
    response
}

fn object(result: Result<Bytes, Rejected>, id: &str) -> Response {
    match result {
        Ok(object) => {
            let about = crate::answer::About::default();
            write::answer(Answer { status: StatusCode::OK, body: Body::Whole(object), about }, None, id)
        }
        Err(rejected) => write::rejected(rejected, Api::OpenAi, id),
    }
}

impl Door {
    fn durable(&self, models: &Models, headers: &HeaderMap) -> Result<(Caller, &dyn Durable), Rejected> {
        let caller = self.enter(models, headers)?;
        let none = || {
            let failure = Failure::refused("response.not_found", "no responses are stored here");
            Rejected::new(failure, StatusCode::NOT_FOUND)
        };
        Ok((caller, self.durable.as_deref().ok_or_else(none)?))
    }
}

/// `GET /v1/responses/{id}`
pub(super) async fn show(
    State(door): State<Door>,
    Path(response): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let models = door.current.get();
    let id = request_id(&models, &headers);
    let shown = async {
        let (caller, durable) = door.durable(&models, &headers)?;
        if query.is_some_and(|it| it.split('&').any(|it| it == "stream=true")) {
            return Err(refused("stream", "stored responses are not streamed: ask without `stream`"));
        }
        durable.show(&caller, &response).await
    };
    object(shown.await, &id)
}

/// `POST /v1/responses/{id}/cancel`
pub(super) async fn cancel(
    State(door): State<Door>,
    Path(response): Path<String>,
    headers: HeaderMap,
) -> Response {
    let models = door.current.get();
    let id = request_id(&models, &headers);
    let cancelled = async {
        let (caller, durable) = door.durable(&models, &headers)?;
        durable.cancel(&caller, &response).await
    };
    object(cancelled.await, &id)
}

/// Answers a call that is a step of a run: with what is recorded, or with what is recorded now.
pub(super) async fn answer(door: &Door, models: &Models, call: Call) -> Result<Answer, Rejected> {
    let Some(durable) = &door.durable else {
        return Err(refused("x-steadfast-step", "steps of runs are not recorded here"));
    };
    let deadline = models.deadline(&call);
    let place = match in_time(&deadline, durable.step(&call)).await? {
        Step::Recorded(transcript) => return Ok(transcript.answer()),
        Step::New(place) => place,
    };
    let (id, operation, longest) = (call.id.clone(), call.operation, durable.longest());
    let mut answer = models.answer_by(deadline, call).await?;
    // What is said where nobody could be asked is not the step's answer: the next try may find one.
    if answer.about.degraded.is_some() {
        return Ok(answer);
    }
    let Body::Stream(frames) = answer.body else {
        let transcript = Transcript::of(&answer)?;
        check_length(transcript.text().len(), longest)?;
        let recorded = place(transcript.clone()).await?;
        return Ok(if recorded == transcript { answer } else { recorded.answer() });
    };
    let transcript = Transcript::begin(answer.status, &answer.about, true);
    let sheet = Sheet { transcript, pieces: Vec::new(), bytes: 0, usage: None, longest };
    answer.body = Body::Stream(recorded(frames, sheet, place, (Sent::nothing(operation), id)));
    Ok(answer)
}

fn check_length(bytes: usize, longest: usize) -> Result<(), Rejected> {
    if bytes <= longest {
        return Ok(());
    }
    let message =
        format!("the answer has more than {longest} bytes, and cannot be recorded: ask for a shorter one");
    Err(Rejected::new(Failure::internal("answer.too_large", message), StatusCode::BAD_GATEWAY))
}

/// A stream as it is taken down.
struct Sheet {
    transcript: Transcript,
    pieces: Vec<Bytes>,
    bytes: usize,
    usage: Option<Usage>,
    longest: usize,
}

impl Sheet {
    fn add(&mut self, frame: &Frame) -> Result<(), Rejected> {
        self.bytes += frame.bytes.len();
        self.pieces.push(frame.bytes.clone());
        self.usage = match (self.usage, frame.usage) {
            (Some(before), Some(now)) => Some(before.max(now)),
            (before, now) => before.or(now),
        };
        check_length(self.bytes, self.longest)
    }
    async fn record(self, place: Place) -> Result<(), Rejected> {
        let transcript = self.transcript.counted(self.usage).with(&self.pieces)?;
        if place(transcript.clone()).await? == transcript {
            return Ok(());
        }
        let failure =
            Failure::internal("step.overtaken", "another answer was recorded meanwhile: ask again for it");
        Err(Rejected::new(failure.retryable(), StatusCode::CONFLICT))
    }
}

/// A stream whose end is told when it is recorded, and not before.
fn recorded(frames: Frames, sheet: Sheet, place: Place, of: (Sent, Arc<str>)) -> Frames {
    let stream = stream::unfold(Some((frames, sheet, place, of)), |state| async move {
        let (mut frames, mut sheet, place, mut of) = state?;
        let frame = frames.next().await?;
        let failed = match sheet.add(&frame) {
            Err(rejected) => rejected,
            Ok(()) => match frame.sense {
                Sense::Failed(_) => return Some((frame, None)),
                Sense::End => match sheet.record(place).await {
                    Ok(()) => return Some((frame, None)),
                    Err(rejected) => rejected,
                },
                _ => {
                    of.0.saw(&frame);
                    return Some((frame, Some((frames, sheet, place, of))));
                }
            },
        };
        let (sent, id) = of;
        let bytes = rejected_event(&sent, &failed, &id);
        Some((Frame::new(bytes, Sense::Failed("not recorded")), None))
    });
    Box::pin(stream)
}
