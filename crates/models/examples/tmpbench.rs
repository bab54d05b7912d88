use bytes::Bytes;
use std::sync::Arc;
use steadfast_core::{World, config, observe::silent};
use steadfast_models::*;
#[derive(serde::Deserialize)]
struct C {
    models: ModelsConfig,
}
fn models(extra: &str) -> Arc<Models> {
    let text = format!(
        "[models.providers.p]\nkind = 'local'\n[models.routes.m]\ntargets = [{{ provider = 'p' }}]\n[models.cache]\n{extra}"
    );
    let c: C = config::load_checked(Some(("t", &text)), &config::Environment::new(), |_| vec![]).unwrap();
    Arc::new(Models::new(c.models, &config::Environment::new(), &World::system(), &silent()).unwrap())
}
fn main() {
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = World::system();
    for size in [100usize, 500, 4000, 100_000] {
        let body = |i: usize| {
            Bytes::from(format!(
                r#"{{"model":"m","temperature":0.2,"max_tokens":100,"messages":[{{"role":"system","content":"You are brief"}},{{"role":"user","content":"{} {i}"}}]}}"#,
                "lorem ipsum ".repeat(size / 12)
            ))
        };
        for (what, extra, mode) in [
            ("hit", "enabled=true", 0),
            ("hit similar on", "enabled=true\nchat.similar=true", 0),
            ("off", "enabled=false", 0),
        ] {
            let m = models(extra);
            rt.block_on(async {
                let bodies: Vec<_> = (0..100).map(body).collect();
                let h = http::HeaderMap::new();
                let ask = |b: Bytes| {
                    m.process(
                        "1".into(),
                        Operation::Chat,
                        b,
                        Caller { user: Some("ana".into()), ..Default::default() },
                        &h,
                    )
                };
                for b in &bodies {
                    ask(b.clone()).await.unwrap();
                }
                let n = if size > 10_000 { 3_000 } else { 30_000 };
                let t = world.clock().elapsed();
                for i in 0..n {
                    ask(bodies[i % 100].clone()).await.unwrap();
                }
                let d = world.clock().elapsed() - t;
                let mut r = 0.0;
                for b in bodies.iter().cycle().take(n).collect::<Vec<_>>().iter().take(1) {
                    r = b.len() as f64;
                }
                let t = world.clock().elapsed();
                for i in 0..n {
                    std::hint::black_box(
                        Call::read(
                            "1".into(),
                            Operation::Chat,
                            &h,
                            bodies[i % 100].clone(),
                            Caller::default(),
                        )
                        .unwrap(),
                    );
                }
                let read = world.clock().elapsed() - t;
                println!(
                    "{what} body {r} B: {:.2} us per call, of which Call::read {:.2}  {mode}",
                    d.as_secs_f64() * 1e6 / n as f64,
                    read.as_secs_f64() * 1e6 / n as f64
                );
            });
        }
    }
}
