use futures::StreamExt as _;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    Caller, Operation,
    answer::{About, Frame, Sense},
    wire::sse,
};

fn screen(change: impl FnOnce(&mut ScreenConfig)) -> Screen {
    let mut config = ScreenConfig::default();
    change(&mut config);
    Screen::new(&config).expect("good patterns")
}

fn call(operation: Operation, body: &str) -> Call {
    let body = Bytes::from(body.to_owned());
    Call::read("1".into(), operation, &HeaderMap::new(), body, Caller::default()).expect("reads")
}

fn redacted(operation: Operation, body: &str) -> (String, Option<Redacted>) {
    let mut call = call(operation, body);
    let redacted = screen(|_| ()).redact(&mut call, None).expect("not refused");
    (String::from_utf8(call.body.to_vec()).expect("text"), redacted)
}

#[test]
fn values_are_replaced_where_they_stand_and_every_other_byte_stays() {
    let body = r#" {"model":"m", "x":"bob@example.com","messages" : [{"role":"system","content":"a\u00e9\n\"bob@example.com\" <b>"},
        {"role":"user","content":[{"type":"text","text":"caf\u00e9 bob@example.com or 4111 1111 1111 1111"},
        {"type":"image_url","image_url":{"url":"https://x.y/?m=bob@example.com"}}]},
        {"role":"tool","tool_call_id":"c","content":"{\"mail\":\"x\\nbob@example.com\",\"n\":4111111111111111}"},
        {"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{\"to\":\"carol\\u0040example.com\",\"card\": 4111111111111111}"}}]}],
        "tools":[{"description":"for bob@example.com"}]}"#;
    let expected = body
        .replacen(r#"\"bob@example.com\" <b>"#, r#"\"<EMAIL_1>\" <b>"#, 1)
        .replacen("bob@example.com or 4111 1111 1111 1111", "<EMAIL_1> or <CARD_1>", 1)
        .replacen(r"\\nbob@example.com", r"\\n<EMAIL_1>", 1)
        .replacen(r#"\"n\":4111111111111111"#, r#"\"n\":<CARD_2>"#, 1)
        .replacen(r"carol\\u0040example.com", "<EMAIL_2>", 1)
        .replacen(r#"\"card\": 4111111111111111"#, r#"\"card\": \"<CARD_2>\""#, 1);
    let (got, redacted) = redacted(Operation::Chat, body);
    assert_eq!(got, expected);
    assert!(redacted.is_some());
    serde_json::from_str::<Value>(&got).expect("JSON");
}

#[test]
fn other_apis_have_their_texts_in_other_places() {
    let (got, _) = redacted(
        Operation::Messages,
        r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"for bob@example.com"}],"messages":[{"role":"assistant",
        "content":[{"type":"tool_use","id":"t","name":"pay","input":{"url":"bob@example.com","card":4111111111111111}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"ok bob@example.com"}]}]}"#,
    );
    assert_eq!(got.matches("<EMAIL_1>").count(), 3, "{got}");
    assert!(got.contains(r#""card":"<CARD_1>""#), "{got}");
    let (got, _) = redacted(Operation::Embeddings, r#"{"model":"m","input":["bob@example.com","x"]}"#);
    assert_eq!(got, r#"{"model":"m","input":["<EMAIL_1>","x"]}"#);
    let (got, _) = redacted(Operation::Embeddings, r#"{"model":"m","input":"bob@example.com"}"#);
    assert_eq!(got, r#"{"model":"m","input":"<EMAIL_1>"}"#);
}

#[test]
fn whatever_else_says_something_of_somebody_is_replaced_and_who_asks_is_still_known() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"user":"bob@example.com",
        "safety_identifier":"bob@example.com","prompt_cache_key":"k bob@example.com","stop":["bob@example.com"],
        "metadata":{"id":"bob@example.com","card":4111111111111111},"prediction":{"type":"content","content":"bob@example.com"}}"#;
    let mut chat = call(Operation::Chat, body);
    screen(|_| ()).redact(&mut chat, None).expect("fine").expect("something");
    let expected = body.replace("bob@example.com", "<EMAIL_1>").replace("4111111111111111", "\"<CARD_1>\"");
    assert_eq!(chat.body, expected);
    assert_eq!(chat.asked.user.as_deref(), Some("bob@example.com"), "answers are kept for each user");
    let body = r#"{"model":"m","max_tokens":9,"messages":[],"metadata":{"user_id":"bob@example.com"},"stop_sequences":["bob@example.com"]}"#;
    let mut message = call(Operation::Messages, body);
    screen(|_| ()).redact(&mut message, None).expect("fine").expect("something");
    assert_eq!(message.body, body.replace("bob@example.com", "<EMAIL_1>"));
    assert_eq!(message.asked.user.as_deref(), Some("bob@example.com"));
    let body = r#"{"model":"m","input":"x","prompt":{"id":"p","variables":{"to":"bob@example.com"}}}"#;
    assert_eq!(redacted(Operation::Responses, body).0, body.replace("bob@example.com", "<EMAIL_1>"));
}

#[test]
fn data_is_looked_at_where_it_is_text_and_left_alone_where_it_is_bytes() {
    let said = "mail ana@bank.mx, card 4111 1111 1111 1111";
    for source in [
        r#"{"type":"text","media_type":"text/plain","data":"SAID"}"#,
        r#"{"data":"SAID","media_type":"x","type":"te\u0078t"}"#,
        r#"{"data":"SAID","media_type":"TEXT/csv"}"#,
        r#"{"data":"SAID","type":"base64","type":"text"}"#,
    ] {
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"document","source":{source}}}]}}]}}"#
        );
        let (got, _) = redacted(Operation::Messages, &body.replace("SAID", said));
        assert_eq!(got, body.replace("SAID", "mail <EMAIL_1>, card <CARD_1>"));
    }
    let bytes = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image","source":
        {"type":"base64","media_type":"image/png","data":"4111111111111111"}},{"type":"redacted_thinking","data":"4111111111111111"}]}]}"#;
    assert_eq!(redacted(Operation::Messages, bytes).0, bytes);
}

#[test]
fn tools_keep_their_names_and_who_speaks_has_one_that_providers_take() {
    let call = r#"{"id":"c","type":"function","function":{"name":"call_52_55_1234_5678","arguments":"{}"}}"#;
    let body = r#"{"model":"m","messages":[{"role":"user","name":"ana@bank.mx","content":"I am ana@bank.mx"},
        {"name":"bob@bank.mx","role":"assistant","tool_calls":[CALL]},
        {"role":"function","name":"carol@bank.mx","content":"x"},
        {"role":"tool","tool_call_id":"c","name":"carol@bank.mx","content":"{\"name\":\"carol@bank.mx\"}"}]}"#
        .replace("CALL", call);
    let expected = body
        .replace("I am ana@bank.mx", "I am <EMAIL_1>")
        .replace(r#""name":"ana@bank.mx""#, r#""name":"EMAIL_1""#)
        .replace(r#""name":"bob@bank.mx""#, r#""name":"EMAIL_2""#)
        .replace(r#"\"name\":\"carol@bank.mx"#, r#"\"name\":\"<EMAIL_3>"#);
    let (got, known) = redacted(Operation::Chat, &body);
    assert_eq!(got, expected);
    let vault = known.expect("something").vault;
    let answer = "EMAIL_1: <EMAIL_1>, EMAIL_12 MY_EMAIL_1 EMAIL_3 <EMAIL_3> (EMAIL_2)EMAIL_1";
    assert_eq!(
        vault.restore_all(answer, false),
        "ana@bank.mx: ana@bank.mx, EMAIL_12 MY_EMAIL_1 EMAIL_3 carol@bank.mx (bob@bank.mx)ana@bank.mx"
    );
    let body = body.replace("I am", "EMAIL_1?");
    let vault = redacted(Operation::Chat, &body).1.expect("something").vault;
    assert_eq!(vault.restore_all("EMAIL_1 EMAIL_2", false), "EMAIL_1 bob@bank.mx", "somebody else's word");
    for body in [
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t",
            "name":"ana@bank.mx","input":{"name":"WHO"}}]}]}"#,
        r#"{"model":"m","input":[{"type":"function_call","call_id":"c","name":"ana@bank.mx","arguments":"WHO"}],
            "prompt":{"id":"p","variables":{"name":"WHO","url":"WHO"}}}"#,
    ] {
        let operation = if body.contains("prompt") { Operation::Responses } else { Operation::Messages };
        let (got, _) = redacted(operation, &body.replace("WHO", "bob@bank.mx"));
        assert_eq!(got, body.replace("WHO", "<EMAIL_1>"));
    }
}

#[tokio::test]
async fn a_name_without_brackets_is_restored_in_streams_however_they_are_cut() {
    let body = r#"{"model":"m","messages":[{"role":"user","name":"ana@bank.mx","content":"hi"}]}"#;
    let text = "EMAIL_1, EMAIL_12 and EMAIL_1";
    for cut in 0..=text.len() {
        let chunk = |content: &str| json!({ "choices": [{ "delta": { "content": content }, "index": 0 }] });
        let events = vec![
            (None, chunk(&text[..cut]), Sense::Content),
            (None, chunk(&text[cut..]), Sense::Content),
            (None, json!("[DONE]"), Sense::End),
        ];
        let (_, vault) = redacted(Operation::Chat, body);
        let frames = streamed(Operation::Chat, vault.expect("something"), events).await;
        let said = |frame: &Frame| {
            data(frame)["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
        };
        let got: String = frames.iter().map(said).collect();
        assert_eq!(got, "ana@bank.mx, EMAIL_12 and ana@bank.mx", "{cut}");
    }
}

#[test]
fn the_same_value_has_the_same_name_also_where_it_is_not_recognised() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"call 7512345678"},{"role":"user","content":"x 7512345678 y"}]}"#;
    assert_eq!(redacted(Operation::Chat, body).0, body.replace("7512345678", "<PHONE_1>"));
}

#[test]
fn a_conversation_that_goes_on_keeps_its_placeholders() {
    for (operation, messages, system) in [
        (Operation::Messages, "messages", "system"),
        (Operation::Responses, "input", "instructions"),
        (Operation::Chat, "messages", "stop"),
    ] {
        let more = r#"{"role":"user","content":"and ben@example.com?"}"#;
        let body = r#"{"model":"m","MESSAGES":[{"role":"user","content":"mail ana@example.com"}MORE],
            "SYSTEM":"ask help@example.com","user":"eva@example.com","metadata":{"user_id":"joe@example.com"},
            "prediction":"zoe@example.com"}"#
            .replace("MESSAGES", messages)
            .replace("SYSTEM", system);
        let (first, _) = redacted(operation, &body.replace("MORE", ""));
        let (second, _) = redacted(operation, &body.replace("MORE", &format!(",{more}")));
        // The answer that is expected changes anyway.
        let (expected, _) = first.rsplit_once("\"prediction\"").expect("it is there");
        let more = format!(",{}", more.replace("ben@example.com", "<EMAIL_5>"));
        assert!(expected.contains("mail <EMAIL_4>"), "{first}");
        let (got, _) = second.rsplit_once("\"prediction\"").expect("it is there");
        assert_eq!(got.replace(&more, ""), expected);
    }
}

#[test]
fn placeholders_that_were_there_before_are_nobodys() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"<EMAIL_1> \u003cEMAIL_2\u003e bob@example.com"}]}"#;
    let (got, redacted) = redacted(Operation::Chat, body);
    assert_eq!(got, body.replace("bob@example.com", "<EMAIL_3>"));
    let vault = redacted.expect("something").vault;
    assert_eq!(
        vault.restore_all("<EMAIL_1> <EMAIL_2> <EMAIL_3> <EMAIL_4>", false),
        "<EMAIL_1> <EMAIL_2> bob@example.com <EMAIL_4>"
    );
}

#[test]
fn kinds_can_be_refused_or_left_alone_and_routes_can_say_otherwise() {
    let body =
        r#"{"model":"m","messages":[{"role":"user","content":"bob@example.com 4111111111111111 Falcon"}]}"#;
    let strict = screen(|it| it.kinds.card = Action::Refuse);
    let refused = strict.redact(&mut call(Operation::Chat, body), None).err().expect("refused");
    assert_eq!(refused, Refused::Kinds("card".into()));
    let lax = screen(|it| {
        (it.kinds.card, it.kinds.email) = (Action::Off, Action::Off);
        it.literals = vec!["falcon".into()];
    });
    let mut one = call(Operation::Chat, body);
    assert!(lax.redact(&mut one, None).expect("fine").is_some());
    assert_eq!(one.body, body.replace("Falcon", "<CUSTOM_1>"));
    for (enabled, route, expected) in
        [(false, None, false), (false, Some(true), true), (true, Some(false), false)]
    {
        let done = screen(|it| it.enabled = enabled).redact(&mut call(Operation::Chat, body), route);
        assert_eq!(done.expect("fine").is_some(), expected);
    }
}

#[test]
fn a_whole_answer_has_the_values_in_texts_and_in_json_within_texts() {
    let (_, redacted) = redacted(
        Operation::Chat,
        &json!({ "model": "m", "messages": [{ "role": "user", "content":
            "-----BEGIN PRIVATE KEY-----\n\"x\"\\\n-----END PRIVATE KEY----- bob@example.com" }] })
        .to_string(),
    );
    let key = "-----BEGIN PRIVATE KEY-----\n\"x\"\\\n-----END PRIVATE KEY-----";
    let inner = r#"{"k":"<SECRET_1>","e":"\u003cEMAIL_1\u003e"}"#;
    let answer = json!({ "id": "x", "choices": [{ "message": { "content": "a <SECRET_1> b <EMAIL_1>",
        "tool_calls": [{ "function": { "arguments": inner } }] } }] })
    .to_string();
    let vault = redacted.expect("something").vault;
    let restored = vault.restore_body(&answer.replace("b <EMAIL_1>", r"b \u003CEMAIL_1\u003e").into(), false);
    let value: Value = serde_json::from_slice(&restored).expect("JSON");
    let message = &value["choices"][0]["message"];
    assert_eq!(message["content"], format!("a {key} b bob@example.com"));
    let arguments = message["tool_calls"][0]["function"]["arguments"].as_str().expect("text");
    let arguments: Value = serde_json::from_str(arguments).expect("JSON within");
    assert_eq!((&arguments["k"], &arguments["e"]), (&json!(key), &json!("bob@example.com")));
    let asked = json!({ "content": inner }).to_string();
    let restored: Value = serde_json::from_slice(&vault.restore_body(&asked.into(), true)).expect("JSON");
    let content: Value =
        serde_json::from_str(restored["content"].as_str().expect("text")).expect("JSON within");
    assert_eq!(content["k"], key);
}

#[test]
fn what_a_provider_says_is_wrong_with_a_request_is_restored_as_well() {
    let (_, redacted) = redacted(Operation::Chat, ASKED);
    let failure = steadfast_core::Failure::refused("provider.refused", "no");
    let words = Some(Bytes::from_static(br#"{"error":{"message":"who is <EMAIL_1>?"}}"#));
    let rejected = Rejected { words, ..Rejected::new(failure, StatusCode::BAD_REQUEST) };
    let words = redacted.expect("something").restore_words(rejected).words.expect("words");
    assert_eq!(words, r#"{"error":{"message":"who is bob@example.com?"}}"#);
}

async fn streamed(
    operation: Operation,
    vault: Redacted,
    events: Vec<(Option<&str>, Value, Sense)>,
) -> Vec<Frame> {
    let frames = events
        .into_iter()
        .map(|(name, data, sense)| Frame::new(sse::write(name, &data.to_string()), sense))
        .collect::<Vec<_>>();
    let body = Body::Stream(Box::pin(futures::stream::iter(frames)));
    let answer = Answer { status: StatusCode::OK, body, about: About::default() };
    let call = call(operation, r#"{"model":"m","messages":[]}"#);
    match vault.restore(&call, answer).body {
        Body::Stream(frames) => frames.collect().await,
        Body::Whole(_) => panic!("a stream"),
    }
}

fn data(frame: &Frame) -> Value {
    let text = std::str::from_utf8(&frame.bytes).expect("text");
    serde_json::from_str(text.split("data: ").nth(1).expect("data").trim()).unwrap_or_default()
}

const ASKED: &str =
    r#"{"model":"m","messages":[{"role":"user","content":"bob@example.com 4111 1111 1111 1111"}]}"#;

proptest! {
    #[test]
    fn a_placeholder_is_restored_however_a_stream_cuts_it(
        cuts in prop::collection::vec(0..80_usize, 0..12), other in prop::collection::vec(0..80_usize, 0..6), finish in any::<bool>(),
    ) {
        let text = "to <EMAIL_1>, é<CARD_1><EMAIL_1> < <EMAIL_ <EMAIL_9> <EMAIL_1";
        let arguments = r#"{"to":"<EMAIL_1>","a\\":"\u003cCARD_1\u003e","b":"\\u003c"}"#;
        let pieces = |text: &str, cuts: &[usize]| {
            let mut places: Vec<_> = cuts.iter().map(|cut| text.floor_char_boundary(cut % (text.len() + 1))).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            places.windows(2).map(|two| text[two[0]..two[1]].to_owned()).collect::<Vec<_>>()
        };
        let mut events = Vec::new();
        let chunk = |delta: Value, reason: Value| json!({ "id": "x", "choices": [{ "delta": delta, "index": 0, "finish_reason": reason }] });
        let (said, given) = (pieces(text, &cuts), pieces(arguments, &other));
        for i in 0..said.len().max(given.len()) {
            let mut delta = json!({});
            if let Some(piece) = said.get(i) { delta["content"] = json!(piece); }
            if let Some(piece) = given.get(i) {
                let mut call = json!({ "index": 1, "function": { "arguments": piece } });
                if i == 0 { (call["id"], call["function"]["name"]) = (json!("c"), json!("f")); }
                delta["tool_calls"] = json!([call]);
            }
            events.push((None, chunk(delta, Value::Null), Sense::Content));
        }
        if finish {
            events.push((None, chunk(json!({}), json!("stop")), Sense::Closing));
        }
        events.push((None, json!("[DONE]"), Sense::End));
        let (_, vault) = redacted(Operation::Chat, ASKED);
        let frames = futures::executor::block_on(streamed(Operation::Chat, vault.expect("something"), events));
        let (mut got, mut called, mut names, mut open) = (String::new(), String::new(), 0, true);
        for frame in &frames {
            let choice = &data(frame)["choices"][0];
            let delta = &choice["delta"];
            prop_assert!(open || delta["content"].is_null());
            got += delta["content"].as_str().unwrap_or_default();
            let function = &delta["tool_calls"][0]["function"];
            called += function["arguments"].as_str().unwrap_or_default();
            names += usize::from(function["name"].is_string());
            open &= choice["finish_reason"].is_null();
        }
        prop_assert_eq!(got, "to bob@example.com, é4111 1111 1111 1111bob@example.com < <EMAIL_ <EMAIL_9> <EMAIL_1");
        prop_assert_eq!(called, r#"{"to":"bob@example.com","a\\":"4111 1111 1111 1111","b":"\\u003c"}"#);
        prop_assert_eq!(names, 1);
        prop_assert_eq!(frames.last().map(|it| it.sense.clone()), Some(Sense::End));
    }
}

#[tokio::test]
async fn blocks_of_messages_are_restored_one_by_one_and_end_with_what_was_kept_back() {
    let delta = |index: u64, kind: &str, name: &str, text: &str| {
        let delta = json!({ "type": kind, name: text });
        let event = json!({ "type": "content_block_delta", "index": index, "delta": delta });
        (Some("content_block_delta"), event, Sense::Content)
    };
    let stop = |index: u64| {
        (Some("content_block_stop"), json!({ "type": "content_block_stop", "index": index }), Sense::Opening)
    };
    let start = json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "<EMAIL_1>" } });
    let events = vec![
        (Some("content_block_start"), start, Sense::Opening),
        delta(0, "text_delta", "text", " and <EMAI"),
        delta(1, "input_json_delta", "partial_json", r#"{"to":"<EMA"#),
        delta(0, "text_delta", "text", "L_1> <CARD"),
        stop(0),
        delta(1, "input_json_delta", "partial_json", r#"IL_1>"}"#),
        stop(1),
        (Some("message_stop"), json!({ "type": "message_stop" }), Sense::End),
    ];
    let (_, vault) = redacted(Operation::Chat, ASKED);
    let frames = streamed(Operation::Messages, vault.expect("something"), events).await;
    let all: Vec<_> = frames.iter().map(data).collect();
    assert_eq!(all[0]["content_block"]["text"], "bob@example.com");
    let of = |index: u64| {
        let deltas = all.iter().filter(|it| it["type"] == "content_block_delta" && it["index"] == index);
        deltas
            .map(|it| it["delta"]["text"].as_str().or(it["delta"]["partial_json"].as_str()).expect("text"))
            .collect::<String>()
    };
    assert_eq!(
        (of(0).as_str(), of(1).as_str()),
        (" and bob@example.com <CARD", r#"{"to":"bob@example.com"}"#)
    );
    let stops = all.iter().position(|it| it["type"] == "content_block_stop").expect("a stop");
    assert_eq!(all[stops - 1]["delta"]["text"], "<CARD", "said before its block ends");
}

#[tokio::test]
async fn what_tools_of_other_kinds_are_given_is_restored_as_well_where_it_comes_in_parts() {
    let custom = |head: Value, input: &str| {
        let mut call = json!({ "index": 0, "custom": { "input": input } });
        (call["id"], call["custom"]["name"]) = (head["id"].clone(), head["name"].clone());
        json!({ "tool_calls": [call] })
    };
    let legacy =
        |name: Value, arguments: &str| json!({ "function_call": { "name": name, "arguments": arguments } });
    for (deltas, input, expected) in [
        (
            [custom(json!({ "id": "c", "name": "f" }), "to <EMA"), custom(Value::Null, "IL_1>")],
            "/tool_calls/0/custom",
            "to bob@example.com",
        ),
        (
            [legacy(json!("f"), r#"{"to":"<EMA"#), legacy(Value::Null, r#"IL_1>"}"#)],
            "/function_call",
            r#"{"to":"bob@example.com"}"#,
        ),
    ] {
        let chunk = |delta| (None, json!({ "choices": [{ "index": 0, "delta": delta }] }), Sense::Content);
        let mut events: Vec<_> = deltas.into_iter().map(chunk).collect();
        events.push((None, json!("[DONE]"), Sense::End));
        let (_, vault) = redacted(Operation::Chat, ASKED);
        let frames = streamed(Operation::Chat, vault.expect("something"), events).await;
        let calls: Vec<_> = frames
            .iter()
            .filter_map(|frame| data(frame)["choices"][0]["delta"].pointer(input).cloned())
            .collect();
        let texts = calls.iter().filter_map(|it| it["input"].as_str().or(it["arguments"].as_str()));
        assert_eq!(texts.collect::<String>(), expected);
        assert_eq!(calls.iter().filter(|it| it["name"] == "f").count(), 1, "{calls:?}");
    }
}

#[tokio::test]
async fn an_event_of_several_lines_is_still_one_when_it_is_restored() {
    let (_, vault) = redacted(Operation::Chat, ASKED);
    let event =
        "data: {\"choices\": [{\"index\": 0,\ndata: \"delta\": {\"content\":\ndata: \"<EMAIL_1>\"}}]}\n\n";
    let frame = Frame::new(event.into(), Sense::Content);
    let body = Body::Stream(Box::pin(futures::stream::iter([frame])));
    let answer = Answer { status: StatusCode::OK, body, about: About::default() };
    let call = call(Operation::Chat, r#"{"model":"m","messages":[]}"#);
    let Body::Stream(frames) = vault.expect("something").restore(&call, answer).body else {
        panic!("a stream")
    };
    let frames: Vec<_> = frames.collect().await;
    assert_eq!(frames[0].bytes, event.replace("<EMAIL_1>", "bob@example.com"));
}
