use super::*;

fn events(frames: &[Frame]) -> Vec<Value> {
    let mut parser = Parser::default();
    for frame in frames {
        parser.push(&frame.bytes);
    }
    let mut events = Vec::new();
    while let Some(Event { data, .. }) = parser.next_event().expect("small") {
        events.push(serde_json::from_slice(&data).unwrap_or(Value::Null));
    }
    events
}

#[test]
fn a_messages_stream_becomes_a_chat_stream() {
    let frames = streamed(StreamAsChat::new(17, true), &wire("messages_stream.txt")).expect("whole");
    let events = events(&frames);
    let deltas: Vec<_> = events.iter().map(|event| event["choices"][0]["delta"].clone()).collect();
    let expected = [
        json!({ "role": "assistant", "content": "" }),
        json!({ "reasoning_content": "A greeting." }),
        json!({ "content": "Hello" }),
        json!({ "content": "!" }),
        json!({}),
    ];
    assert_eq!(deltas[..5], expected);
    assert_eq!(events[4]["choices"][0]["finish_reason"], "stop");
    let usage = json!({ "prompt_tokens": 32, "completion_tokens": 15, "total_tokens": 47,
                        "prompt_tokens_details": { "cached_tokens": 7 } });
    assert_eq!((&events[5]["choices"], &events[5]["usage"]), (&json!([]), &usage));
    assert_eq!(frames.last().map(|frame| frame.sense.clone()), Some(Sense::End));
    let told: Usage = frames.iter().filter_map(|frame| frame.usage).fold(Usage::default(), Usage::max);
    assert_eq!(told, Usage { input: 32, cached: 7, output: 15, ..Usage::default() });
}

#[test]
fn a_chat_stream_becomes_a_messages_stream() {
    let frames = streamed(StreamAsMessages::default(), &wire("chat_stream.txt")).expect("whole");
    let events = events(&frames);
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    let expected = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(events[0]["message"]["id"], "chatcmpl-1");
    assert_eq!(events[2]["delta"], json!({ "type": "text_delta", "text": "Hello" }));
    assert_eq!(events[4]["delta"], json!({ "stop_reason": "end_turn", "stop_sequence": null }));
    assert_eq!(events[4]["usage"]["input_tokens"], 9);
}

#[test]
fn pieces_of_parallel_tool_calls_may_come_in_any_order() {
    let chunk = |call: Value| {
        let choice = json!({ "index": 0, "delta": { "tool_calls": [call] }, "finish_reason": null });
        format!("data: {}\n\n", json!({ "id": "x", "model": "m", "choices": [choice] }))
    };
    let begin = |index: u32| {
        chunk(
            json!({ "index": index, "id": format!("c{index}"), "function": { "name": "f", "arguments": "" } }),
        )
    };
    let more = |index: u32, text: &str| chunk(json!({ "index": index, "function": { "arguments": text } }));
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let stream =
        [begin(0), more(0, "{\"a\""), begin(1), more(1, "{}"), more(0, ":1}"), end.to_owned()].concat();
    let frames = streamed(StreamAsMessages::default(), stream.as_bytes()).expect("whole");
    let events = events(&frames);
    let input = |index: u32| -> String {
        let of = events.iter().filter(|event| event["index"] == index);
        of.filter_map(|event| event["delta"]["partial_json"].as_str()).collect()
    };
    assert_eq!((input(0).as_str(), input(1).as_str()), (r#"{"a":1}"#, "{}"));
    let stops: Vec<_> = events.iter().filter(|event| event["type"] == "content_block_stop").collect();
    assert_eq!(stops.len(), 2);
}

#[test]
fn a_tool_without_arguments_still_has_some_json() {
    let wire = wire("messages_stream.txt");
    let text = String::from_utf8(wire.to_vec()).expect("text");
    let start = r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#;
    let begin = text.find("event: content_block_start").expect("a block");
    let end = text.find("event: message_delta").expect("an end");
    let block = format!(
        "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{start}}}\n\n\
         event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\n"
    );
    let stream = format!("{}{block}{}", &text[..begin], &text[end..]);
    let frames = streamed(StreamAsChat::new(0, false), stream.as_bytes()).expect("whole");
    let arguments: String = events(&frames)
        .iter()
        .filter_map(|event| {
            event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str().map(str::to_owned)
        })
        .collect();
    assert_eq!(arguments, "{}");
}

#[test]
fn a_stream_of_two_choices_is_whole_when_both_have_ended() {
    let end = |index: u32| {
        let choice = json!({ "index": index, "delta": {}, "finish_reason": "stop" });
        format!("data: {}\n\n", json!({ "choices": [choice] }))
    };
    let read = |stream: String| streamed(crate::wire::chat::PassThrough::new(false, 2), stream.as_bytes());
    assert_eq!(read(end(0)).expect_err("one is open").class, Class::Cut);
    assert_eq!(read(end(0) + "data: [DONE]\n\n").expect_err("one is open").class, Class::Cut);
    assert!(read(end(0) + &end(1)).expect("whole").last().is_some_and(|it| it.sense == Sense::End));
}

#[test]
fn a_stream_that_ends_before_its_answer_does_is_cut_wherever_that_is() {
    for (name, whole_from) in
        [("messages_stream.txt", "event: message_stop"), ("chat_stream.txt", "data: [DONE]")]
    {
        let wire = wire(name);
        let text = String::from_utf8(wire.to_vec()).expect("text");
        let mut ends: Vec<_> = text.match_indices("\n\n").map(|(at, _)| at + 2).collect();
        ends.pop();
        for end in ends {
            let part = &text.as_bytes()[..end];
            let (own, other) = if name.starts_with("chat") {
                (
                    streamed(crate::wire::chat::PassThrough::new(false, 1), part),
                    streamed(StreamAsMessages::default(), part),
                )
            } else {
                (
                    streamed(crate::wire::messages::PassThrough::default(), part),
                    streamed(StreamAsChat::new(0, false), part),
                )
            };
            // Once the model said why it stopped, the rest is form.
            let finished =
                text[..end].contains(r#"finish_reason":"stop"#) || text[..end].contains("message_delta");
            for result in [own, other] {
                match result {
                    Ok(_) => assert!(finished, "{name} at {end}"),
                    Err(failed) => {
                        assert!(
                            !finished && failed.class == Class::Cut,
                            "{name} at {end}: {}",
                            failed.message
                        );
                    }
                }
            }
        }
        assert!(text.contains(whole_from));
    }
}
