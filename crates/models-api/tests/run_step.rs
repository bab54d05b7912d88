//! A workflow's own code asks a model as a step: what is recorded is never asked for again.
#![allow(missing_docs)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use steadfast_core::{Failure, TenantId, World, config, observe::silent};
use steadfast_engine::{
    Action, ActionOptions, Ctx, Data, Engine, EngineConfig, Registry, Start, StepTask, WorkflowOptions,
};
use steadfast_log::{Log, MemoryLog, Mortal, StreamId};
use steadfast_models::{Caller, Models, ModelsConfig, Operation, answer::Body};
use steadfast_models_mock::{Mock, Plan};

const ASK: Action<String, String> = Action::new("test.ask");

/// What an application registers: a call of a model on behalf of a run.
async fn ask(models: Arc<Models>, task: StepTask, words: String) -> Result<String, Failure> {
    let payload = json!({ "model": "m", "messages": [{ "role": "user", "content": words }] });
    let mut options = HeaderMap::new();
    options.insert("x-steadfast-run", task.run.to_string().parse().expect("a header"));
    let caller = Caller { tenant: task.tenant, user: Some(task.principal.into()), key: None };
    let payload = Bytes::from(payload.to_string());
    let answer = models.process(task.key.as_str().into(), Operation::Chat, payload, caller, &options).await;
    let Body::Whole(body) = answer.map_err(|rejected| *rejected.failure)?.body else {
        return Err(Failure::internal("test.stream", "nobody asked for a stream"));
    };
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    Ok(body["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned())
}

fn node(log: Arc<dyn Log>, world: &World, models: &Arc<Models>) -> Engine {
    let mut registry = Registry::default();
    let models = models.clone();
    registry.action(&ASK, ActionOptions::default(), move |task, words| ask(models.clone(), task, words));
    registry.workflow("talk", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        let first = ctx.step("first", &ASK, &"go".to_owned()).await?;
        ctx.signal::<()>("more", "more").await?;
        let second = ctx.step("second", &ASK, &"go on".to_owned()).await?;
        Ok(vec![first, second])
    });
    let config = EngineConfig {
        poll: Duration::from_millis(20).into(),
        node_lease: Duration::from_millis(200).into(),
        ..EngineConfig::default()
    };
    let engine = Engine::new(log, world.clone(), registry, config, silent());
    let running = engine.clone();
    tokio::spawn(async move { running.run().await });
    engine
}

#[tokio::test]
async fn a_model_asked_by_a_runs_code_is_not_asked_again_after_its_record() {
    let upstream = Mock::start(Plan::default()).await.expect("runs");
    let world = World::system();
    let toml = format!(
        "[cache]\nenabled = false\n[providers.p]\nurl = '{}'\n[routes.m]\ntargets = [{{ provider = 'p' }}]\n\
         [prices.m]\ninput = '1'\noutput = '1'\n[budget.limits.runs]\nlimit = '1'\nper = 'run'\n",
        upstream.url()
    );
    let config: ModelsConfig = config::load(Some(("models.toml", &toml)), &BTreeMap::new()).expect("reads");
    let models = Arc::new(Models::new(config, &BTreeMap::new(), &world, &silent()).expect("set up"));
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new(world.clone()));

    // It dies when the first answer has just been recorded: acceptance, then that turn.
    let doomed = node(Arc::new(Mortal::new(log.clone(), 2, true)), &world, &models);
    let tenant = TenantId::default();
    let start = Start::new(tenant.clone(), "ana", "talk", Data::null());
    let run = doomed.start(start).await.expect("accepted").run;
    let stream = StreamId::new(&tenant, "run", run);
    while log.head(&stream).await.expect("reads") < 3 {
        world.clock().sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(upstream.calls(), 1);

    let next = node(log, &world, &models);
    next.signal(&tenant, run, None, "ana", "more", Data::null()).await.expect("sent");
    let settled = next.wait(&tenant, run, Duration::from_secs(60)).await.expect("reads").expect("it ends");
    let said: Vec<String> = settled.outcome.expect("it completes").read().expect("texts");
    assert_eq!(said, vec![Plan::default().text(); 2]);
    assert_eq!(upstream.calls(), 2, "one for each step");
    // Both are of the run's budget.
    let spending = models.spending();
    assert!(spending.iter().any(|it| it.of.contains(&run.to_string())), "{spending:?}");
}
