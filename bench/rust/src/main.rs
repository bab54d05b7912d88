//! A run of five durable steps that do nothing, on Restate.

use std::collections::BTreeMap;

use restate_sdk::prelude::*;

type Body = Json<BTreeMap<String, String>>;

struct Steps;

#[service]
impl Steps {
    #[handler]
    async fn run(&self, ctx: Context<'_>, _: Body) -> Result<Body, HandlerError> {
        for number in 1..=5 {
            ctx.run(|| async { Ok(()) }).name(format!("step {number}")).await?;
        }
        Ok(Json(BTreeMap::from([("status".into(), "completed".into())])))
    }
}

#[tokio::main]
async fn main() {
    let port = std::env::var("PORT").expect("PORT is set");
    let address = format!("127.0.0.1:{port}").parse().expect("PORT is a number");
    HttpServer::new(Endpoint::builder().bind(Steps).build()).listen_and_serve(address).await;
}
