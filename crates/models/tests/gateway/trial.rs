//! Whether everybody answers what they are for.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Bytes,
    http::{StatusCode, Uri},
    response::IntoResponse,
};
use serde_json::json;

use crate::harness::Gateway;

/// One with a model for each purpose: `chat`, `embed` and `hear`.
async fn answer(uri: Uri, body: Bytes) -> impl IntoResponse {
    let text = String::from_utf8_lossy(&body);
    let model = text.split("\"model\":\"").nth(1).and_then(|it| it.split('"').next());
    let heard = text.contains("\r\n\r\nhear\r\n") && text.contains("RIFF");
    let of = |answer| (StatusCode::OK, Json(answer));
    match (uri.path(), model) {
        ("/v1/chat/completions", Some("chat")) => of(json!({
            "id": "1", "object": "chat.completion", "model": "chat",
            "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": "Hello." } }],
        })),
        ("/v1/embeddings", Some("embed")) => of(json!({
            "object": "list", "model": "embed",
            "data": [{ "object": "embedding", "index": 0, "embedding": [0.5] }],
        })),
        ("/v1/audio/transcriptions", _) if heard => of(json!({ "text": "" })),
        (path, _) => {
            let message = format!("This model is not for {path}.");
            (
                StatusCode::NOT_FOUND,
                Json(json!({ "error": { "message": message, "code": "model_not_found" } })),
            )
        }
    }
}

#[tokio::test]
async fn a_model_is_asked_for_what_it_is_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let mut config = format!("[models.providers.p]\nurl = 'http://{address}/v1'\n");
    for model in ["chat", "embed", "hear", "none"] {
        config.extend([format!("[models.routes.{model}]\ntargets = [{{ provider = 'p' }}]\n")]);
    }
    let gateway = Gateway::start(&config).await;
    let probes = gateway.models.probe(None, Duration::from_secs(30)).await.expect("probed");
    let seen: Vec<_> = probes.iter().map(|it| (it.route.as_str(), it.code.as_str())).collect();
    assert_eq!(seen, [("chat", "ok"), ("embed", "ok"), ("hear", "ok"), ("none", "provider.no_such_model")]);
    let said = probes[3].message.as_deref().expect("words");
    assert!(said.contains("not for /v1/chat/completions"), "{said}");
    serving.abort();
}
