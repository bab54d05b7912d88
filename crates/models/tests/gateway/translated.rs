//! Clients of one API before providers of the other.

use serde_json::{Value, json};
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::harness::{Gateway, ask, route};

async fn gateway(mock: &Mock, kind: &str) -> Gateway {
    Gateway::start(&route(&[mock], &format!("kind = '{kind}'"))).await
}

#[tokio::test]
async fn text_and_usage_come_through_both_ways_whole_and_as_streams() {
    let mock = Mock::start(Plan::default()).await.expect("runs");
    for (kind, path) in [("anthropic", "/v1/chat/completions"), ("openai", "/v1/messages")] {
        let gateway = gateway(&mock, kind).await;
        let body = ask(true).replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
        for body in [ask(false), body] {
            let answer = gateway.send(path, &[], body).await;
            assert_eq!(answer.said(), Plan::default().text(), "{path}: {}", answer.text);
            let expected = if kind == "anthropic" {
                r#""usage":{"prompt_tokens":9,"completion_tokens":20,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4}}"#
            } else {
                r#""usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":20}"#
            };
            let sorted = |text: &str| {
                let mut parts: Vec<_> = text.split([',', '{', '}']).map(str::to_owned).collect();
                parts.sort();
                parts
            };
            let all = sorted(&answer.text);
            assert!(sorted(expected).iter().all(|part| all.contains(part)), "{path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn parallel_tool_calls_come_through_both_ways_whole_and_as_streams() {
    let mock = Mock::start(Plan { tools: 2, ..Plan::default() }).await.expect("runs");
    let chat = gateway(&mock, "anthropic").await;
    let whole = chat.chat(false).await.json();
    let choice = &whole["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &Value::Null)
    );
    let calls: Vec<_> = choice["message"]["tool_calls"].as_array().expect("calls").clone();
    let called = |index: usize| json!({ "city": format!("City {index}"), "days": index });
    let mut streamed = vec![(String::new(), String::new()); 2];
    let stream = chat.chat(true).await;
    for event in stream.events() {
        let Ok(event) = serde_json::from_str::<Value>(event) else { continue };
        for call in event["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(call["index"].as_u64().expect("an index")).expect("small");
            streamed[index].0.push_str(call["id"].as_str().unwrap_or_default());
            streamed[index].1.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
        }
    }
    for index in 0..2 {
        assert_eq!(calls[index]["id"], format!("toolu_{index}"));
        let arguments = calls[index]["function"]["arguments"].as_str().expect("text");
        assert_eq!(serde_json::from_str::<Value>(arguments).expect("JSON"), called(index));
        assert_eq!(streamed[index].0, format!("toolu_{index}"));
        assert_eq!(serde_json::from_str::<Value>(&streamed[index].1).expect("JSON"), called(index));
    }
    assert!(stream.text.contains(r#""finish_reason":"tool_calls""#) && stream.is_whole_stream());

    let messages = gateway(&mock, "openai").await;
    let whole = messages.message(false).await.json();
    assert_eq!(whole["stop_reason"], "tool_use");
    let stream = messages.message(true).await;
    let events: Vec<Value> =
        stream.events().iter().map(|event| serde_json::from_str(event).expect("JSON")).collect();
    for index in 0..2 {
        let block = json!({ "type": "tool_use", "id": format!("call_{index}"), "name": "weather", "input": called(index) });
        assert_eq!(whole["content"][index], block);
        let of = |kind: &str| {
            let of = move |event: &&Value| event["type"] == kind && event["index"] == index;
            events.iter().filter(of).collect::<Vec<_>>()
        };
        assert_eq!(of("content_block_start")[0]["content_block"]["id"], format!("call_{index}"));
        let input: String = of("content_block_delta")
            .iter()
            .filter_map(|event| event["delta"]["partial_json"].as_str())
            .collect();
        assert_eq!(serde_json::from_str::<Value>(&input).expect("JSON"), called(index));
        assert_eq!(of("content_block_stop").len(), 1);
    }
    assert!(stream.is_whole_stream());
}

#[tokio::test]
async fn what_a_provider_cannot_do_is_asked_of_the_next_and_refused_where_there_is_none() {
    let mock = Mock::start(Plan::default()).await.expect("runs");
    let body = ask(false).replacen('{', r#"{"n":2,"#, 1);
    let config = route(&[&mock, &mock], "").replacen("url", "kind = 'anthropic'\nurl", 1);
    let both = Gateway::start(&config).await;
    let answer = both.send("/v1/chat/completions", &[], body.clone()).await;
    assert_eq!((answer.header("x-steadfast-provider"), answer.header("x-steadfast-attempts")), ("p1", "1"));
    let alone = gateway(&mock, "anthropic").await;
    let answer = alone.send("/v1/chat/completions", &[], body).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["code"], "provider.unsupported");
    let embeddings = r#"{"model":"m","input":"x"}"#;
    assert_eq!(alone.send("/v1/embeddings", &[], embeddings).await.status, 400);
    assert_eq!(mock.calls(), 1);
}

#[tokio::test]
async fn streams_of_the_other_api_that_break_before_content_fall_back_as_well() {
    let (first, second) = (
        Mock::start(Plan::default()).await.expect("runs"),
        Mock::start(Plan::default()).await.expect("runs"),
    );
    for (kind, path) in [("anthropic", "/v1/chat/completions"), ("openai", "/v1/messages")] {
        for fault in [Fault::Cut(0), Fault::BadChunk(0), Fault::ErrorEvent(0), Fault::EndEarly(0)] {
            let gateway = Gateway::start(&route(&[&first, &second], &format!("kind = '{kind}'"))).await;
            first.next([fault.clone()]);
            let answer = gateway.send(path, &[], ask(true)).await;
            assert_eq!(answer.said(), Plan::default().text(), "{kind} {fault:?}: {}", answer.text);
            assert!(answer.is_whole_stream() && answer.header("x-steadfast-provider") == "p1");
        }
    }
}
