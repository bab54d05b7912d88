//! What of the gateway's work outlives a request: responses as runs, calls as steps of runs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use steadfast_core::{
    Failure, Principal, Role, RunId, TenantId,
    canonical::Hash,
    secret::{Keyring, Sealed},
};
use steadfast_engine::{Data, Engine, OutsideStep, RunView, Start, StepId};
use steadfast_log::limits::PAYLOAD_BYTES;
use steadfast_models::{
    Call, Caller, Rejected, Transcript,
    serve::{Begun, Durable, Place, Step},
};
use steadfast_server::{Key, Problem};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::responses::{Asked, RESPONSE, Responses, object, open, response_id, run_of, seal, status};

/// How long a cancelled response is waited for.
const CANCEL_WAIT: Duration = Duration::from_secs(5);
/// How long a step is waited for that somebody else is doing.
const STEP_WAIT: Duration = Duration::from_secs(60);
/// The operation that keys of responses belong to.
const OPERATION: &str = "models.responses";

/// A step of somebody's run.
type Which = (TenantId, RunId, StepId);

/// Runs and steps on the node's engine.
pub(crate) struct OnEngine {
    engine: Engine,
    keyring: Keyring,
    /// Steps that are being done.
    going: Mutex<HashMap<Which, Weak<Turn<()>>>>,
}

fn rejected(failure: Failure) -> Rejected {
    let status = Problem::new(failure.clone()).status();
    Rejected::new(failure, status)
}

fn missing(id: &str) -> Rejected {
    let id = steadfast_core::shown(id, 80);
    rejected(Failure::refused("response.not_found", format!("there is no response {id:?}")))
}

/// On whose behalf a run is.
fn principal(caller: &Caller) -> String {
    match (&caller.user, &caller.key) {
        (Some(user), _) => user.to_string(),
        (None, Some(key)) => format!("key:{key}"),
        (None, None) => "nobody".into(),
    }
}

impl OnEngine {
    pub(crate) fn new(engine: Engine, responses: &Responses) -> Self {
        Self { engine, keyring: responses.keyring().clone(), going: Mutex::default() }
    }

    async fn accept(&self, call: Call, headers: HeaderMap) -> Result<Begun, Rejected> {
        let asked = Asked::of(&call, &headers, &self.keyring).map_err(rejected)?;
        let input = Data::of(&asked).map_err(rejected)?;
        let bytes = input.text().len();
        if bytes > PAYLOAD_BYTES {
            let message = format!(
                "sealed, the request has {bytes} bytes, at most {PAYLOAD_BYTES} can be stored: a request in \
                 the background may be about half as large"
            );
            let failure = Failure::refused("request.too_large", message);
            return Err(Rejected::new(failure, StatusCode::PAYLOAD_TOO_LARGE));
        }
        let Caller { tenant, .. } = &call.caller;
        let owner = Principal { tenant: tenant.clone(), user: principal(&call.caller), role: Role::User };
        let key = Key::read(&headers).map_err(|problem| rejected(problem.failure().clone()))?;
        let key = match key {
            Some(key) => Some((key.claim(&owner, OPERATION), call.hash()?)),
            None => None,
        };
        let labels = BTreeMap::from([("operation".into(), call.operation.name().into())]);
        let start = Start { labels, key, ..Start::new(tenant.clone(), &owner.user, RESPONSE, input) };
        let accepted = self.engine.start(start).await.map_err(rejected)?;
        let run = self.engine.describe(tenant, accepted.run).await.map_err(rejected)?;
        // However far it is: whoever asks hears the rest by asking for it.
        let status = if accepted.replayed { status(run.status) } else { "queued" };
        let object = object(&run, &asked, &self.keyring, status).map_err(rejected)?;
        Ok(Begun { object: object.to_string().into(), replayed: accepted.replayed })
    }

    /// The caller's response of that id.
    async fn find(&self, caller: &Caller, id: &str) -> Result<(RunView, Asked), Rejected> {
        let run = run_of(id).ok_or_else(|| missing(id))?;
        let run = match self.engine.describe(&caller.tenant, run).await {
            Ok(run) if run.workflow == RESPONSE => run,
            Err(failure) if failure.code != "run.not_found" => return Err(rejected(failure)),
            Ok(_) | Err(_) => return Err(missing(id)),
        };
        let asked: Asked = run.input.read().map_err(rejected)?;
        if asked.is_of(caller) { Ok((run, asked)) } else { Err(missing(id)) }
    }

    async fn object_of(&self, caller: &Caller, id: &str) -> Result<Bytes, Rejected> {
        let (run, asked) = self.find(caller, id).await?;
        let object = object(&run, &asked, &self.keyring, status(run.status)).map_err(rejected)?;
        Ok(object.to_string().into())
    }

    async fn give_up(&self, caller: &Caller, id: &str) -> Result<Bytes, Rejected> {
        let (run, _) = self.find(caller, id).await?;
        if !run.status.ended() {
            let why = format!("{} was cancelled by its client", response_id(run.id));
            let cancelled = self.engine.cancel(&caller.tenant, run.id, None, &run.principal, &why).await;
            match cancelled {
                Err(failure) if failure.code != "run.ended" => return Err(rejected(failure)),
                _ => {}
            }
            self.engine.wait(&caller.tenant, run.id, CANCEL_WAIT).await.map_err(rejected)?;
        }
        self.object_of(caller, id).await
    }

    /// The run that a call names, if its caller may add to it: users to their own, keys without a
    /// user to all of their tenant.
    async fn run_of(&self, call: &Call) -> Result<RunId, Rejected> {
        let caller = &call.caller;
        let missing = || rejected(Failure::refused("run.not_found", "there is no such run"));
        let Some(run) = &call.options.run else {
            let message = "a step belongs to a run: name it with x-steadfast-run";
            let refused = rejected(Failure::refused("request.invalid", message));
            return Err(Rejected { param: Some("x-steadfast-run".into()), ..refused });
        };
        let run = run.parse().map_err(|_| missing())?;
        let owner = self.engine.principal_of(&caller.tenant, run).await.map_err(rejected)?;
        let service = caller.user.is_none() && caller.key.is_some();
        if service || principal(caller) == owner { Ok(run) } else { Err(missing()) }
    }

    async fn enter(&self, call: &Call) -> Result<Step, Rejected> {
        let run = self.run_of(call).await?;
        let step = StepId::from(call.options.step.as_deref().unwrap_or_default());
        let request = call.hash()?;
        let tenant = call.caller.tenant.clone();
        let turn = self.turn((tenant.clone(), run, step.clone())).await?;
        let done = self.engine.outside_step(&tenant, run, &step).await.map_err(rejected)?;
        if let Some(done) = done {
            return Ok(Step::Recorded(transcript(&self.keyring, run, done, request)?));
        }
        let (engine, keyring, by) = (self.engine.clone(), self.keyring.clone(), principal(&call.caller));
        let place = move |answer: Transcript| -> BoxFuture<'static, Result<Transcript, Rejected>> {
            Box::pin(async move {
                let sealed = seal(&keyring, &answer).and_then(|sealed| Data::of(&sealed));
                let sealed = sealed.map_err(rejected)?;
                if sealed.text().len() > PAYLOAD_BYTES {
                    let message = "the answer is too large to be recorded: ask for a shorter one";
                    return Err(rejected(Failure::internal("answer.too_large", message)));
                }
                let done = OutsideStep { step, request, by, answer: sealed };
                let recorded = engine.record_outside(&tenant, run, done).await.map_err(rejected)?;
                drop(turn);
                transcript(&keyring, run, recorded, request)
            })
        };
        let place: Place = Box::new(place);
        Ok(Step::New(place))
    }

    /// Waits until nobody else here does the step.
    async fn turn(&self, of: Which) -> Result<OwnedMutexGuard<()>, Rejected> {
        let turn = {
            let mut going = self.going.lock().unwrap_or_else(PoisonError::into_inner);
            going.retain(|_, turn| turn.strong_count() > 0);
            let known = going.get(&of).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::new(Turn::new(()));
                going.insert(of, Arc::downgrade(&turn));
                turn
            })
        };
        tokio::select! {
            biased;
            turn = turn.lock_owned() => Ok(turn),
            () = self.engine.world().clock().sleep(STEP_WAIT) => {
                let message = "somebody else is doing this step; ask again";
                Err(rejected(Failure::refused("step.busy", message).retryable()))
            }
        }
    }
}

/// What is recorded as a step, if it was asked for with the same request.
fn transcript(
    keyring: &Keyring,
    run: RunId,
    done: OutsideStep,
    request: Hash,
) -> Result<Transcript, Rejected> {
    if done.request != request {
        let short = |hash: Hash| hash.to_string()[..12].to_owned();
        let (step, before, now) = (done.step, short(done.request), short(request));
        let message = format!(
            "step {step:?} of run {run} was asked for with another request (then {before}, now {now}); \
             give this one another name"
        );
        return Err(Rejected::new(Failure::refused("step.other_request", message), StatusCode::CONFLICT));
    }
    let sealed: Sealed<Transcript> = done.answer.read().map_err(rejected)?;
    open(keyring, &sealed).map_err(rejected)
}

impl Durable for OnEngine {
    fn begin(&self, call: Call, headers: HeaderMap) -> BoxFuture<'_, Result<Begun, Rejected>> {
        Box::pin(self.accept(call, headers))
    }
    fn show<'a>(&'a self, caller: &'a Caller, id: &'a str) -> BoxFuture<'a, Result<Bytes, Rejected>> {
        Box::pin(self.object_of(caller, id))
    }
    fn cancel<'a>(&'a self, caller: &'a Caller, id: &'a str) -> BoxFuture<'a, Result<Bytes, Rejected>> {
        Box::pin(self.give_up(caller, id))
    }
    fn run<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Arc<str>, Rejected>> {
        Box::pin(async move { Ok(self.run_of(call).await?.to_string().into()) })
    }
    fn step<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Step, Rejected>> {
        Box::pin(self.enter(call))
    }
    fn longest(&self) -> usize {
        // Sealed, each byte is written as two.
        PAYLOAD_BYTES / 2
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use steadfast_core::{World, config, observe::silent, secret::Secret};
    use steadfast_engine::{Ctx, EngineConfig, Registry, WorkflowOptions};
    use steadfast_log::MemoryLog;
    use steadfast_models::{Current, Models, ModelsConfig, Operation};

    use super::*;

    #[tokio::test]
    async fn a_run_is_named_by_those_who_may_add_to_it_and_has_one_name() {
        let world = World::system();
        let mut registry = Registry::default();
        registry.workflow("talk", 1, WorkflowOptions::default(), |_: Ctx, (): ()| async move { Ok(()) });
        let log = Arc::new(MemoryLog::new(world.clone()));
        let engine = Engine::new(log, world.clone(), registry, EngineConfig::default(), silent());
        let start = |tenant: &str| Start::new(tenant.parse().expect("a name"), "ana", "talk", Data::null());
        let run = engine.start(start("acme")).await.expect("accepted").run;

        let none = BTreeMap::new();
        let config: ModelsConfig = config::load(None, &none).expect("reads");
        let models = Models::new(config, &none, &world, &silent()).expect("set up");
        let keyring = Keyring::new("k", &Secret::new([1; 32]), world.clone());
        let on_engine = OnEngine::new(engine, &Responses::new(Arc::new(Current::new(models)), keyring));
        let named = async |tenant: &str, user: Option<&str>, key: Option<&str>, run: &str| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("x-steadfast-run"),
                run.parse().expect("a header"),
            )]);
            let (tenant, user) = (tenant.parse().expect("a name"), user.map(Into::into));
            let caller = Caller { tenant, user, key: key.map(Into::into) };
            let body = Bytes::from_static(br#"{"model":"m","messages":[]}"#);
            let call = Call::read("c".into(), Operation::Chat, &headers, body, caller).expect("reads");
            on_engine.run(&call).await.map_err(|rejected| rejected.failure.code)
        };
        let name = run.to_string();
        for spelled in [name.clone(), name.to_uppercase(), name.replace('-', "")] {
            assert_eq!(named("acme", Some("ana"), None, &spelled).await.as_deref(), Ok(&*name));
        }
        assert_eq!(named("acme", None, Some("k1"), &name).await.as_deref(), Ok(&*name));
        let another = RunId::next(&world).to_string();
        for (tenant, user, run) in [
            ("acme", "luis", &*name),
            ("bank", "ana", &name),
            ("acme", "ana", &another),
            ("acme", "ana", "x"),
        ] {
            let refused = named(tenant, Some(user), None, run).await;
            assert_eq!(refused.expect_err("not theirs"), "run.not_found", "{tenant} {user} {run}");
        }
    }
}
