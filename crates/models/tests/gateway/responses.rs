//! OpenAI's responses: passed through where a provider has them, translated where not.

use serde_json::{Value, json};
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::harness::{Gateway, route};

const PATH: &str = "/v1/responses";

fn ask(stream: bool) -> String {
    json!({ "model": "m", "stream": stream, "input": "go" }).to_string()
}

fn events(text: &str) -> Vec<Value> {
    let data = |event: &str| serde_json::from_str(event.split("data: ").nth(1)?).ok();
    text.split("\n\n").filter_map(data).collect()
}

fn event(kind: &str, more: Value) -> String {
    let mut data = json!({ "type": kind });
    data.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    format!("event: {kind}\ndata: {data}\n\n")
}

fn usage() -> Value {
    json!({ "input_tokens": 9, "input_tokens_details": { "cached_tokens": 4 }, "output_tokens": 2, "total_tokens": 11 })
}

fn stream(texts: &[&str]) -> String {
    let mut all = event("response.created", json!({ "response": { "id": "resp_1", "error": null } }));
    for text in texts {
        all += &event(
            "response.output_text.delta",
            json!({ "output_index": 0, "content_index": 0, "delta": text }),
        );
    }
    all += &event("response.output_text.done", json!({ "output_index": 0, "text": texts.concat() }));
    all + &event(
        "response.completed",
        json!({ "response": { "id": "resp_1", "status": "completed", "usage": usage() } }),
    )
}

#[tokio::test]
async fn bodies_and_events_of_a_provider_that_has_them_are_kept() {
    let answer = json!({ "id": "resp_1", "object": "response", "status": "completed", "error": null, "output": [], "usage": usage() });
    let mock = Mock::start(Plan::replaying(answer.to_string())).await.expect("runs");
    let gateway = Gateway::before(&[&mock]).await;
    let body = r#"{"previous_response_id":"resp_0", "model":"m","input":[{"role":"user","content":"x"}],"future":[1]}"#;
    let whole = gateway.send(PATH, &[], body).await;
    assert_eq!((whole.status.as_u16(), whole.json()), (200, answer));
    assert_eq!((mock.seen()[0].path.as_str(), &mock.seen()[0].body[..]), ("/v1/responses", body.as_bytes()));
    let all = stream(&["a", "b"]);
    mock.plan(Plan::replaying(all.clone()));
    assert_eq!(gateway.send(PATH, &[], ask(true)).await.text, all);
}

#[tokio::test]
async fn failures_fall_back_before_content_and_end_in_one_error_after_it() {
    let first = Mock::start(Plan::default()).await.expect("runs");
    let second = Mock::start(Plan::replaying(stream(&["a"]))).await.expect("runs");
    let whole = stream(&["a"]);
    let early = whole.split_inclusive("\n\n").next().expect("an event").to_owned();
    let failed = early.clone()
        + &event(
            "response.failed",
            json!({ "response": { "error": { "message": "no", "code": "server_error" } } }),
        );
    for plan in [Plan::from(Fault::Status(500, None)), Plan::replaying(early), Plan::replaying(failed)] {
        first.plan(plan);
        let gateway = Gateway::before(&[&first, &second]).await;
        let answer = gateway.send(PATH, &[], ask(true)).await;
        assert_eq!((answer.text.as_str(), answer.header("x-steadfast-provider")), (whole.as_str(), "p1"));
    }
    let cut: String = whole.split_inclusive("\n\n").take(2).collect();
    first.plan(Plan::replaying(cut.clone()));
    let answer = Gateway::before(&[&first, &second]).await.send(PATH, &[], ask(true)).await;
    let all = events(&answer.text);
    assert!(answer.text.starts_with(&cut));
    assert_eq!((all.len(), &all[2]["type"], &all[2]["code"]), (3, &json!("error"), &json!("provider.cut")));
    // Clients read a number with every event: ours is the one after the last.
    first.plan(Plan::replaying(
        event("response.created", json!({ "sequence_number": 4, "response": { "id": "resp_1" } }))
            + &event("response.output_text.delta", json!({ "sequence_number": 5, "delta": "a" })),
    ));
    let answer = Gateway::before(&[&first, &second]).await.send(PATH, &[], ask(true)).await;
    assert_eq!(events(&answer.text)[2]["sequence_number"], 6, "{}", answer.text);
}

#[tokio::test]
async fn providers_without_them_answer_in_their_shape() {
    let mock = Mock::start(Plan::default()).await.expect("runs");
    for more in ["responses = false", "kind = 'anthropic'"] {
        mock.plan(Plan::default());
        let gateway = Gateway::start(&route(&[&mock], more)).await;
        let whole = gateway.send(PATH, &[], ask(false)).await.json();
        assert_eq!(
            (&whole["object"], &whole["status"]),
            (&json!("response"), &json!("completed")),
            "{more}: {whole}"
        );
        assert_eq!(whole["output"][0]["content"][0]["text"], Plan::default().text());
        assert_eq!(whole["usage"]["input_tokens_details"]["cached_tokens"], 4);
        let answer = gateway.send(PATH, &[], ask(true)).await;
        let all = events(&answer.text);
        let said: String = all.iter().filter_map(|it| it["delta"].as_str()).collect();
        assert_eq!(said, Plan::default().text(), "{more}: {}", answer.text);
        assert!(all.iter().enumerate().all(|(i, it)| it["sequence_number"] == i), "{}", answer.text);
        let last = all.last().expect("events");
        assert_eq!(
            (&last["type"], &last["response"]["output"][0]["content"][0]["text"]),
            (&json!("response.completed"), &json!(said))
        );
        assert_eq!(last["response"]["usage"]["output_tokens"], 20);

        mock.plan(Plan { tools: 2, ..Plan::default() });
        let whole = gateway.send(PATH, &[], ask(false)).await.json();
        let streamed = events(&gateway.send(PATH, &[], ask(true)).await.text);
        let last = &streamed.last().expect("events")["response"]["output"];
        for index in 0..2 {
            for call in [&whole["output"][index], &last[index]] {
                assert_eq!(
                    (&call["type"], &call["name"]),
                    (&json!("function_call"), &json!("weather")),
                    "{more}: {call}"
                );
                let arguments: Value =
                    serde_json::from_str(call["arguments"].as_str().expect("text")).expect("JSON");
                assert_eq!(arguments["days"], index);
                assert!(call["call_id"].as_str().is_some_and(|it| it.ends_with(&index.to_string())));
            }
        }
    }
}

#[tokio::test]
async fn a_request_becomes_chat_with_all_that_chat_can_say() {
    let mock = Mock::start(Plan::default()).await.expect("runs");
    let gateway = Gateway::start(&route(&[&mock], "responses = false")).await;
    let body = json!({ "model": "m", "instructions": "be kind", "max_output_tokens": 9, "reasoning": { "effort": "low" },
        "input": [
            { "role": "user", "content": [{ "type": "input_text", "text": "a" }, { "type": "input_image", "image_url": "https://x/y", "detail": "low" }] },
            { "type": "reasoning", "summary": [] },
            { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"z\":1,\"a\":2}" },
            { "type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "c1", "output": "ok" },
            { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "b" }] },
        ],
        "tools": [{ "type": "function", "name": "f", "parameters": { "type": "object" }, "strict": true }],
        "tool_choice": { "type": "function", "name": "f" },
        "text": { "format": { "type": "json_schema", "name": "n", "schema": { "type": "object" }, "strict": true } } });
    assert_eq!(gateway.send(PATH, &[], body.to_string()).await.status, 200);
    let sent: Value = serde_json::from_slice(&mock.seen()[0].body).expect("JSON");
    let function = |name: &str, arguments: &str, id: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    assert_eq!(
        sent,
        json!({ "model": "m", "max_completion_tokens": 9, "messages": [
            { "role": "system", "content": "be kind" },
            { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "image_url", "image_url": { "url": "https://x/y", "detail": "low" } }] },
            { "role": "assistant", "tool_calls": [function("f", "{\"z\":1,\"a\":2}", "c1"), function("g", "{}", "c2")] },
            { "role": "tool", "tool_call_id": "c1", "content": "ok" },
            { "role": "assistant", "content": "b" }],
            "tools": [{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" }, "strict": true } }],
            "tool_choice": { "type": "function", "function": { "name": "f" } },
            "response_format": { "type": "json_schema", "json_schema": { "name": "n", "strict": true, "schema": { "type": "object" } } } })
    );
    for (more, said) in [
        (json!({ "previous_response_id": "r" }), "previous_response_id"),
        (json!({ "tools": [{ "type": "web_search" }] }), "web_search"),
        (json!({ "input": [{ "type": "item_reference", "id": "x" }] }), "item_reference"),
        (json!({ "background": true }), "background"),
    ] {
        let mut body = json!({ "model": "m", "input": "x" });
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let answer = gateway.send(PATH, &[], body.to_string()).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(
            answer.json()["error"]["message"].as_str().is_some_and(|it| it.contains(said)),
            "{}",
            answer.text
        );
    }
    assert_eq!(mock.calls(), 1);
}

#[tokio::test]
async fn placeholders_are_restored_in_their_events_too() {
    let mock = Mock::start(Plan::replaying(stream(&["to <EMA", "IL_1", "> <EMA"]))).await.expect("runs");
    let gateway = Gateway::before(&[&mock]).await;
    let body = json!({ "model": "m", "stream": true, "instructions": "x bob@example.com", "input": "y bob@example.com" });
    let answer = gateway.send(PATH, &[], body.to_string()).await;
    let all = events(&answer.text);
    let said: String = all.iter().filter_map(|it| it["delta"].as_str()).collect();
    assert_eq!(said, "to bob@example.com <EMA");
    let done = all.iter().position(|it| it["type"] == "response.output_text.done").expect("done");
    assert_eq!(
        (&all[done]["text"], &all[done - 1]["delta"]),
        (&json!("to bob@example.com <EMA"), &json!("<EMA"))
    );
    let sent = String::from_utf8(mock.seen()[0].body.to_vec()).expect("text");
    assert!(!sent.contains("bob@") && sent.matches("<EMAIL_1>").count() == 2, "{sent}");
}

#[tokio::test]
async fn the_local_provider_has_them() {
    let config =
        "[models.providers.here]\nkind = 'local'\n[models.routes.m]\ntargets = [{ provider = 'here' }]\n";
    let gateway = Gateway::start(config).await;
    let whole = gateway.send(PATH, &[], ask(false)).await.json();
    assert_eq!(whole["output"][0]["content"][0]["text"], "You said: go");
    let last = events(&gateway.send(PATH, &[], ask(true)).await.text).pop().expect("events");
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], "You said: go");
}
