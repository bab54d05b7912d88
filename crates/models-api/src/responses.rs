//! Responses in the background: each is a run with one step, the call.
//!
//! What was asked and what was answered stand on the log sealed, as all that people write.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};
use steadfast_core::{
    Coded as _, Failure, Fault, RunId, Time,
    secret::{Keyring, Sealed},
};
use steadfast_engine::{
    Action, ActionOptions, Ctx, Engine, Registry, RunView, Status, StepTask, WeakEngine, WorkflowOptions,
};
use steadfast_models::{Call, Caller, Current, Operation, Transcript, call};

/// The workflow of a response.
pub(crate) const RESPONSE: &str = "models.response";
const ANSWER: Action<Question, Sealed<Transcript>> = Action::new("models.answer");
/// More than a call takes, which has a deadline of its own.
const ATTEMPT: Duration = Duration::from_hours(1);
/// A response that has not come by then is given up.
const RESPONSE_WITHIN: Duration = Duration::from_hours(24);

/// The input of a response's run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The call's id, which support asks for.
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Arc<str>>,
    pub(crate) request: Sealed<Request>,
}

/// What is needed to read the call again.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    headers: Vec<(String, String)>,
    body: Box<RawValue>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    asked: Asked,
    /// When it was asked.
    at: Time,
}

/// What answers responses in the background.
#[derive(Clone)]
pub(crate) struct Responses {
    current: Arc<Current>,
    keyring: Keyring,
    /// What was asked before then is asked again.
    since: Time,
    engine: Arc<OnceLock<WeakEngine>>,
}

/// The workflow of an agent that lives elsewhere: it waits to be told its end, and calls with its
/// id become its steps.
const OUTSIDE: &str = "models.outside";

/// Registers the workflows. A binary that only reads has nobody who answers them.
pub(crate) fn register(registry: &mut Registry, responses: Option<Responses>) {
    let options = WorkflowOptions {
        deadline: Some(RESPONSE_WITHIN),
        open_to_users: false,
        ..WorkflowOptions::default()
    };
    registry.workflow(RESPONSE, 1, options, |ctx: Ctx, asked: Asked| async move {
        let question = Question { asked, at: ctx.now() };
        ctx.step("answer", &ANSWER, &question).await
    });
    registry.workflow(OUTSIDE, 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.signal::<Value>("end", "end").await
    });
    let options = ActionOptions { timeout: ATTEMPT, ..ActionOptions::default() };
    registry.action(&ANSWER, options, move |task, question| {
        let responses = responses.clone();
        async move {
            let nobody = || Failure::internal("models.disabled", "models are not served here");
            responses.ok_or_else(nobody)?.answer(task, question).await
        }
    });
}

impl Responses {
    pub(crate) fn new(current: Arc<Current>, keyring: Keyring) -> Self {
        let since = current.get().world().now();
        Self { current, keyring, since, engine: Arc::default() }
    }
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }
    /// The engine that drives their runs.
    pub(crate) fn run_on(&self, engine: &Engine) {
        // Whoever says it twice means the same one.
        let _ = self.engine.set(engine.downgrade());
    }

    /// The step: asks, unless its run ends before there is an answer. Then the call upstream is
    /// cancelled with it.
    async fn answer(&self, task: StepTask, question: Question) -> Result<Sealed<Transcript>, Failure> {
        let models = self.current.get();
        if !models.config().enabled {
            return Err(Failure::refused("models.disabled", "models are not served here any more"));
        }
        let again = task.attempt > 1 || question.at < self.since;
        let call = self.call(&task, question.asked, again)?;
        let id = call.id.clone();
        let answer = tokio::select! {
            biased;
            () = self.ended(&task) => {
                return Err(Failure::refused("run.ended", "the response was given up"));
            }
            answer = models.answer(call) => answer,
        };
        let answer = match answer {
            Ok(answer) => answer,
            // A refusal is an outcome. Its words may quote what was asked, and are sealed with it.
            Err(rejected) if rejected.failure.fault == Fault::Caller && !rejected.failure.retryable => {
                rejected.answer(call::Api::OpenAi, &id)
            }
            Err(rejected) => return Err(without_words(*rejected.failure)),
        };
        let transcript = Transcript::of(&answer).map_err(|rejected| *rejected.failure)?;
        seal(&self.keyring, &transcript)
    }

    fn call(&self, task: &StepTask, asked: Asked, again: bool) -> Result<Call, Failure> {
        let request = open(&self.keyring, &asked.request)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                headers.append(name, value);
            }
        }
        let caller = Caller { tenant: task.tenant.clone(), user: asked.user, key: asked.key };
        let body = Box::<str>::from(request.body).into_boxed_bytes().into();
        let call = Call::read(asked.id.into(), Operation::Responses, &headers, body, caller);
        let mut call = call.map_err(|error| error.failure())?;
        // One that it names was its caller's when it was accepted.
        let named = call.options.run.as_ref().and_then(|run| run.parse().ok());
        call.options.run = Some(named.unwrap_or(task.run).to_string().into());
        if again {
            call.options.priority = call.options.priority.max(call::Priority::High);
        }
        Ok(call)
    }

    /// Until the step's run has ended.
    async fn ended(&self, task: &StepTask) {
        if let Some(engine) = self.engine.get().and_then(WeakEngine::upgrade)
            && let Ok(Some(_)) = engine.wait(&task.tenant, task.run, ATTEMPT).await
        {
            return;
        }
        // It goes on, or the node stops, or nobody knows.
        std::future::pending::<()>().await;
    }
}

/// A failure that may stand open on the log: what a provider said may quote what was asked.
fn without_words(failure: Failure) -> Failure {
    if !failure.code.starts_with("provider.") {
        return failure;
    }
    Failure {
        message: "no provider of the model answered; the code says how the last one failed".into(),
        ..failure
    }
}

pub(crate) fn seal<T: Serialize>(keyring: &Keyring, value: &T) -> Result<Sealed<T>, Failure> {
    keyring.seal(value).map_err(|error| Failure::internal("models.seal", error.to_string()))
}

pub(crate) fn open<T: serde::de::DeserializeOwned>(
    keyring: &Keyring,
    sealed: &Sealed<T>,
) -> Result<T, Failure> {
    keyring.open(sealed).map_err(|error| {
        let message = format!("what was asked or answered cannot be opened: {error}");
        Failure::internal("models.sealed", message)
    })
}

impl Asked {
    /// What a call asks for in the background.
    pub(crate) fn of(call: &Call, headers: &HeaderMap, keyring: &Keyring) -> Result<Self, Failure> {
        let body = serde_json::from_slice(&call.body_in_foreground());
        let body = body.map_err(|error| Failure::refused("request.invalid", error.to_string()))?;
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let headers = Call::headers_of(headers).filter_map(text).collect();
        let request = seal(keyring, &Request { headers, body })?;
        let Caller { user, key, .. } = call.caller.clone();
        Ok(Self { id: call.id.to_string(), user, key, request })
    }
    /// Is it the caller's? Users have theirs under all of their keys.
    pub(crate) fn is_of(&self, caller: &Caller) -> bool {
        self.user == caller.user && (self.user.is_some() || self.key == caller.key)
    }
}

/// The id of the response of a run.
pub(crate) fn response_id(run: RunId) -> String {
    format!("resp_{}", run.0.simple())
}

/// The run of a response.
pub(crate) fn run_of(id: &str) -> Option<RunId> {
    id.strip_prefix("resp_")?.parse().ok()
}

/// A response as OpenAI's clients read it.
pub(crate) fn object(
    run: &RunView,
    asked: &Asked,
    keyring: &Keyring,
    status: &str,
) -> Result<Value, Failure> {
    let request: Map<String, Value> = serde_json::from_str(open(keyring, &asked.request)?.body.get())
        .map_err(|error| Failure::internal("run.unreadable", error.to_string()))?;
    let mut object = told(request);
    if let Some(output) = run.output.as_ref().filter(|_| status == "completed") {
        let transcript = open(keyring, &output.read::<Sealed<Transcript>>()?)?;
        let answer: Map<String, Value> = serde_json::from_str(transcript.text())
            .map_err(|error| Failure::internal("run.unreadable", error.to_string()))?;
        object.extend(answer);
        // What has no status is whole.
        let status = if transcript.is_success() { status } else { "failed" };
        object.entry("status").or_insert_with(|| status.into());
    } else {
        object.insert("status".into(), status.into());
    }
    if let Some(failure) = run.failure.as_ref().filter(|_| status == "failed") {
        let message = format!("{} (support id {})", failure.message, asked.id);
        object.insert("error".into(), json!({ "code": failure.code, "message": message }));
    }
    object.insert("id".into(), response_id(run.id).into());
    object.insert("object".into(), "response".into());
    object.insert("background".into(), true.into());
    object.insert("created_at".into(), (run.created.micros() / 1_000_000).into());
    Ok(Value::Object(object))
}

/// What a response says of its request before there is an answer.
fn told(request: Map<String, Value>) -> Map<String, Value> {
    /// What is said in is not said back.
    const UNTOLD: [&str; 4] = ["input", "stream", "stream_options", "include"];
    let defaults = json!({
        "error": null, "incomplete_details": null, "instructions": null, "max_output_tokens": null,
        "metadata": {}, "output": [], "parallel_tool_calls": true, "previous_response_id": null,
        "store": true, "tool_choice": "auto", "tools": [], "usage": null,
    });
    let Value::Object(mut told) = defaults else { return request };
    told.extend(request.into_iter().filter(|(name, value)| !UNTOLD.contains(&&**name) && !value.is_null()));
    if let Some(Value::Object(metadata)) = told.get_mut("metadata") {
        metadata.retain(|name, _| !name.starts_with("steadfast-"));
    }
    told
}

/// The word that OpenAI has for it.
pub(crate) fn status(run: Status) -> &'static str {
    match run {
        Status::Running => "in_progress",
        Status::Waiting | Status::Compensating | Status::Parked => "queued",
        Status::Completed => "completed",
        Status::Failed | Status::Dead => "failed",
        Status::Cancelled | Status::Killed => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::{World, config, observe::silent, secret::Secret};
    use steadfast_engine::{EffectKey, StepId};
    use steadfast_models::{Models, ModelsConfig, call::Priority};

    use super::*;

    fn responses(world: &World) -> Responses {
        let none = std::collections::BTreeMap::new();
        let local = "[providers.local]\nkind = 'local'\n";
        let config: ModelsConfig = config::load(Some(("models.toml", local)), &none).expect("reads");
        let models = Models::new(config, &none, world, &silent()).expect("set up");
        let keyring = Keyring::new("k", &Secret::new([1; 32]), world.clone());
        Responses::new(Arc::new(Current::new(models)), keyring)
    }

    fn task(world: &World, attempt: u32) -> StepTask {
        let (run, step) = (RunId::next(world), StepId::from("answer"));
        StepTask {
            run,
            generation: 1,
            key: EffectKey::of(run, 1, &step),
            step,
            undoes: None,
            attempt,
            action: ANSWER.name.into(),
            input: steadfast_engine::Data::null(),
            tenant: steadfast_core::TenantId::default(),
            principal: "ana".into(),
            deadline: Time::NEVER,
            correlation: None,
        }
    }

    #[test]
    fn what_is_asked_again_is_urgent_and_belongs_to_its_run() {
        let (world, _) = World::manual(1);
        let responses = responses(&world);
        let body = r#"{"model":"local","background":true,"input":"go"}"#;
        let caller = Caller { user: Some("ana".into()), ..Caller::default() };
        for (wanted, again, given) in [
            ("normal", false, Priority::Normal),
            ("low", true, Priority::High),
            ("critical", true, Priority::Critical),
        ] {
            let headers = HeaderMap::from_iter([
                (HeaderName::from_static("x-steadfast-priority"), wanted.parse().expect("a header")),
                (HeaderName::from_static("authorization"), "Bearer secret".parse().expect("a header")),
            ]);
            let call = Call::read("c".into(), Operation::Responses, &headers, body.into(), caller.clone());
            let asked = Asked::of(&call.expect("reads"), &headers, &responses.keyring).expect("sealed");
            let kept = open(&responses.keyring, &asked.request).expect("opens").headers;
            assert_eq!(kept, [("x-steadfast-priority".to_owned(), wanted.to_owned())]);
            let task = task(&world, 1);
            let call = responses.call(&task, asked, again).expect("reads");
            assert_eq!((call.options.priority, call.asked.background), (given, false));
            assert_eq!(call.options.run.as_deref(), Some(&*task.run.to_string()));
        }
    }

    #[test]
    fn an_id_names_its_run_and_nothing_else_does() {
        let (world, _) = World::manual(1);
        let run = RunId::next(&world);
        assert_eq!(run_of(&response_id(run)), Some(run));
        for wrong in ["", "resp_", "resp_1", &run.to_string()] {
            assert_eq!(run_of(wrong), None, "{wrong}");
        }
    }
}
