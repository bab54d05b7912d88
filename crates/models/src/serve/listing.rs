//! `GET /v1/models`, in the shape of whose client asks: what their key may use.

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use steadfast_core::Failure;

use super::{Door, api_of, request_id, write};
use crate::{
    Answer, Rejected,
    answer::{About, Body},
    call::Api,
};

/// When nobody knows when a model was made.
const CREATED: i64 = 0;

fn entry(api: Api, model: &str) -> Value {
    match api {
        Api::OpenAi => json!({ "id": model, "object": "model", "created": CREATED, "owned_by": "steadfast" }),
        Api::Anthropic => json!({
            "type": "model", "id": model, "display_name": model, "created_at": "1970-01-01T00:00:00Z",
        }),
    }
}

pub(super) async fn list(State(door): State<Door>, headers: HeaderMap) -> Response {
    let (api, models) = (api_of(&headers), door.current.get());
    let id = request_id(&models, &headers);
    let caller = match door.enter(&models, &headers) {
        Ok(caller) => caller,
        Err(rejected) => return write::rejected(rejected, api, &id),
    };
    let names = models.models(&caller);
    let data: Vec<_> = names.iter().map(|model| entry(api, model)).collect();
    let body = match api {
        Api::OpenAi => json!({ "object": "list", "data": data }),
        Api::Anthropic => json!({
            "data": data, "has_more": false, "first_id": names.first(), "last_id": names.last(),
        }),
    };
    whole(&body, &id)
}

pub(super) async fn show(
    State(door): State<Door>,
    Path(model): Path<String>,
    headers: HeaderMap,
) -> Response {
    let (api, models) = (api_of(&headers), door.current.get());
    let id = request_id(&models, &headers);
    let caller = match door.enter(&models, &headers) {
        Ok(caller) => caller,
        Err(rejected) => return write::rejected(rejected, api, &id),
    };
    if models.has_model(&caller, &model) {
        return whole(&entry(api, &model), &id);
    }
    let model = steadfast_core::shown(&model, 80);
    let failure = Failure::refused("model.not_found", format!("there is no model {model:?}"));
    write::rejected(Rejected::new(failure, StatusCode::NOT_FOUND), api, &id)
}

fn whole(body: &Value, id: &str) -> Response {
    let body = Body::Whole(body.to_string().into());
    write::answer(Answer { status: StatusCode::OK, body, about: About::default() }, None, id)
}
