use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use hyper::{
    HeaderMap,
    header::{self, HeaderValue},
};
use serde_json::json;
use steadfast_core::{Principal, Role, TenantId, defaults::ACCESS_TOKEN, observe::silent};
use steadfast_engine::{Data, Engine, Start, Status};
use steadfast_resilience::{Policies, Registry};
use steadfast_server::{Metrics, NodeKey, Server, ServerConfig, ServerParts};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    Plan, Report,
    floor::measure,
    http::{Each, Load},
    percentile,
    place::Place,
    rate,
    report::{Bar, Line},
    timed,
};
use crate::{effects, output};

const AT_ONCE: u64 = 64;
const WITHIN: Duration = Duration::from_secs(60);
/// How fast runs of five steps that do nothing are done, each step's result durable
/// before the next step begins.
pub(crate) async fn runs(plan: &Plan) -> anyhow::Result<Report> {
    let place = Place::make(&plan.folder).await?;
    let engine = place.engine()?;
    let running = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run().await }
    });
    let (load, serving) = serve(&place, &engine).await?;
    let mut inside = Line::new("64 at once, in process", "runs/s", Bar::AtLeast(8_000.0));
    let mut over_http = Line::new("64 at once, over HTTP", "runs/s", Bar::AtLeast(5_000.0));
    let mut p50 = Line::new("one at a time, p50", "ms", Bar::AtMost(1.5));
    let mut p99 = Line::new("one at a time, p99", "ms", Bar::AtMost(6.0));
    let mut floors = Vec::new();
    let bar = output::progress(plan.rounds as u64, "rounds");
    for _ in 0..plan.rounds {
        let floor = measure(place.folder(), &place.world).await?;
        let each = plan.count(40);
        let took = timed(&place.world, in_process(&engine, each)).await?;
        inside.push(rate(AT_ONCE * each, took), floor.group);
        let answered = load.send(AT_ONCE, Each::Count(each)).await?;
        ensure!(answered.failures.is_empty(), "{}", answered.failures[0]);
        over_http.push(rate(AT_ONCE * each, answered.took), floor.group);
        let mut waits = one_by_one(&engine, plan.count(200)).await?;
        let millis = |wait: Duration| wait.as_secs_f64() * 1_000.0;
        p50.push(millis(percentile(&mut waits, 50)), millis(floor.one_p50));
        p99.push(millis(percentile(&mut waits, 99)), millis(floor.one_p50));
        floors.push(floor);
        bar.inc(1);
    }
    bar.finish_and_clear();
    engine.stop(Duration::from_secs(5)).await;
    serving.abort();
    // Ends by being cancelled.
    let _ = serving.await;
    running.await?;
    let (stats, verdict) = (place.stats(), place.verify().await?);
    let lines = vec![inside, over_http, p50, p99];
    Ok(Report::new("bench runs (5 steps)", &floors, lines, stats, verdict))
}

/// The node's own server on a free port of this machine.
async fn serve(place: &Place, engine: &Engine) -> anyhow::Result<(Arc<Load>, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let key = NodeKey::load_or_create(&place.folder().join("node.key"), &place.world)?;
    let caller = Principal { tenant: TenantId::default(), user: "bench".into(), role: Role::User };
    let token = key.mint(&caller, ACCESS_TOKEN, &place.world)?;
    let server = Server::new(ServerParts {
        engine: engine.clone(),
        key,
        config: ServerConfig::default(),
        metrics: Arc::new(Metrics::new()),
        breakers: Arc::new(Registry::new(&Policies::new(), &place.world, &silent())),
        apps: Vec::new(),
    });
    let serving = tokio::spawn(async move {
        server.serve(listener, std::future::pending()).await;
    });
    let headers = HeaderMap::from_iter([
        (header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?),
        (header::HeaderName::from_static("prefer"), HeaderValue::from_static("wait=30")),
    ]);
    let load = Load {
        url: format!("http://{address}/api/v1/runs").parse()?,
        headers,
        body: json!({ "workflow": effects::WORKFLOW, "input": effects::FIVE }).to_string().into(),
        keyed: true,
        expect: "\"status\":\"completed\"".into(),
        world: place.world.clone(),
    };
    Ok((Arc::new(load), serving))
}

async fn one_run(engine: &Engine) -> anyhow::Result<()> {
    let tenant = TenantId::default();
    let start = Start::new(tenant, "bench", effects::WORKFLOW, Data::of(&effects::FIVE)?);
    let (_, settled) = engine.start_and_wait(start, WITHIN).await?;
    let settled = settled.context("a run did not end within a minute")?;
    ensure!(settled.status == Status::Completed, "a run ended as {}", settled.status.as_str());
    Ok(())
}

async fn in_process(engine: &Engine, each: u64) -> anyhow::Result<()> {
    let callers = (0..AT_ONCE).map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move {
            for _ in 0..each {
                one_run(&engine).await?;
            }
            anyhow::Ok(())
        })
    });
    for done in try_join_all(callers).await? {
        done?;
    }
    Ok(())
}

async fn one_by_one(engine: &Engine, count: u64) -> anyhow::Result<Vec<Duration>> {
    let mut waits = Vec::new();
    for _ in 0..count {
        let took = timed(engine.world(), one_run(engine)).await?;
        waits.push(took);
    }
    Ok(waits)
}
