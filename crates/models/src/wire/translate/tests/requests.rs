use serde_json::json;

use super::*;

#[test]
fn a_chat_request_with_tools_becomes_a_messages_request() {
    let body = to_messages(&wire("chat_tools_request.json"), "claude", 4_096).expect("translates");
    let expected = json!({
        "model": "claude", "max_tokens": 4_096,
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "Weather in Paris and Lima?" }] },
            { "role": "assistant", "content": [
                { "type": "tool_use", "id": "call_a", "name": "get_weather", "input": { "location": "Paris" } },
                { "type": "tool_use", "id": "call_b", "name": "get_weather", "input": { "location": "Lima" } },
            ]},
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "call_a", "content": [{ "type": "text", "text": "15 degrees" }] },
                { "type": "tool_result", "tool_use_id": "call_b", "content": [{ "type": "text", "text": "19 degrees" }] },
            ]},
        ],
        "tools": [
            { "name": "get_weather", "description": "Current weather.", "input_schema": {
                "type": "object", "properties": { "units": { "type": "string" }, "location": { "type": "string" } },
                "required": ["location"] } },
            { "name": "a_tool", "input_schema": { "type": "object", "properties": {} } },
        ],
        "tool_choice": { "type": "auto" },
    });
    assert_eq!(value(&body), expected);
    let text = String::from_utf8(body.to_vec()).expect("text");
    assert!(
        text.contains(r#""properties":{"units":{"type":"string"},"location""#),
        "the order is kept: {text}"
    );
    assert!(text.contains(r#""input":{"location": "Paris"}"#), "arguments byte for byte: {text}");
}

#[test]
fn what_else_chat_can_say_has_its_counterpart() {
    let body = json!({
        "model": "m", "max_completion_tokens": 7, "temperature": 1.7, "top_p": 0.5, "stop": "END", "user": "u-1",
        "stream": true, "seed": 1, "parallel_tool_calls": false,
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": [
                { "type": "text", "text": "Look" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } },
                { "type": "image_url", "image_url": { "url": "https://example.org/a.png" } },
                { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB" } },
            ]},
            { "role": "user", "content": "and say" },
        ],
        "tools": [{ "type": "function", "function": { "name": "f" } }],
        "tool_choice": { "type": "function", "function": { "name": "f" } },
        "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" } } },
    });
    let body = to_messages(body.to_string().as_bytes(), "claude", 4_096).expect("translates");
    let expected = json!({
        "model": "claude", "max_tokens": 7, "temperature": 1.0, "top_p": 0.5, "stop_sequences": ["END"],
        "metadata": { "user_id": "u-1" }, "stream": true,
        "system": [{ "type": "text", "text": "Be brief." }],
        "messages": [{ "role": "user", "content": [
            { "type": "text", "text": "Look" },
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } },
            { "type": "image", "source": { "type": "url", "url": "https://example.org/a.png" } },
            { "type": "document", "title": "a.pdf",
              "source": { "type": "base64", "media_type": "application/pdf", "data": "BBBB" } },
            { "type": "text", "text": "and say" },
        ]}],
        "tools": [{ "name": "f", "input_schema": { "type": "object", "properties": {} } }],
        "tool_choice": { "type": "tool", "name": "f", "disable_parallel_tool_use": true },
        "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } },
    });
    assert_eq!(value(&body), expected);
}

#[test]
fn what_chat_alone_can_say_is_refused_and_not_lost() {
    for (member, text) in [
        (r#""n":2"#, "n above 1"),
        (r#""logprobs":true"#, "logprobs"),
        (r#""audio":{"voice":"x"}"#, "audio"),
        (r#""tools":[{"type":"custom","custom":{}}]"#, "tools of this type"),
    ] {
        let body = format!(r#"{{"messages":[],{member}}}"#);
        let failed = to_messages(body.as_bytes(), "claude", 1).expect_err(member);
        assert!(failed.class == Class::Unsupported && failed.message.contains(text), "{}", failed.message);
    }
    let sound = wire("chat_request.json");
    let sound = String::from_utf8(sound.to_vec())
        .expect("text")
        .replace(r#""n": 2,"#, "")
        .replace(r#""logprobs": true,"#, "");
    let failed = to_messages(sound.as_bytes(), "claude", 1).expect_err("sound");
    assert!(failed.message.contains("input_audio"), "{}", failed.message);
    assert_eq!(to_messages(b"{}", "claude", 1).expect_err("no messages").class, Class::Refused);
}

#[test]
fn arguments_that_are_no_json_are_kept_inside_some() {
    let ask = |arguments: &str| {
        let call =
            json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": arguments } });
        let body = json!({ "messages": [{ "role": "assistant", "tool_calls": [call] }] }).to_string();
        value(&to_messages(body.as_bytes(), "m", 1).expect("translates"))["messages"][0]["content"][0]["input"].clone()
    };
    assert_eq!(ask(""), json!({}));
    assert_eq!(ask("{\"a\":"), json!({ "arguments": "{\"a\":" }));
    assert_eq!(ask("[1]"), json!({ "arguments": "[1]" }));
}

#[test]
fn a_messages_request_with_tools_becomes_a_chat_request() {
    // Tools that run at the provider have no counterpart.
    let request = wire("messages_tools_request.json");
    assert_eq!(to_chat(&request, "gpt", false).expect_err("web_search").class, Class::Unsupported);
    let own = r#",{"type":"web_search_20250305","name":"web_search","max_uses":5}"#;
    let request = String::from_utf8(request.to_vec()).expect("text").replace(own, "");
    let body = to_chat(request.as_bytes(), "gpt", false).expect("translates");
    let call = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "get_weather", "arguments": arguments } });
    let expected = json!({
        "model": "gpt", "max_completion_tokens": 1_024,
        "messages": [
            { "role": "user", "content": "Weather in Paris and Lima?" },
            { "role": "assistant", "content": "I look.", "tool_calls": [
                call("toolu_a", r#"{"location":"Paris"}"#), call("toolu_b", r#"{"unit":"c","location":"Lima"}"#),
            ]},
            { "role": "tool", "tool_call_id": "toolu_a", "content": "15 degrees" },
            { "role": "tool", "tool_call_id": "toolu_b", "content": "19 degrees" },
        ],
        "tools": [{ "type": "function", "function": { "name": "get_weather", "description": "Current weather.",
            "parameters": { "type": "object",
                "properties": { "unit": { "type": "string" }, "location": { "type": "string" } },
                "required": ["location"] } } }],
        "tool_choice": "auto", "parallel_tool_calls": true,
    });
    assert_eq!(value(&body), expected);
    let text = String::from_utf8(body.to_vec()).expect("text");
    assert!(
        text.contains(r#""properties":{"unit":{"type":"string"},"location""#),
        "the order is kept: {text}"
    );
}

#[test]
fn what_else_messages_can_say_has_its_counterpart() {
    let body = to_chat(&wire("messages_request.json"), "gpt", true).expect("translates");
    let expected = json!({
        "model": "gpt", "max_tokens": 1_024, "user": "u-13",
        "messages": [
            { "role": "system", "content": "You are terse." },
            { "role": "user", "content": [
                { "type": "image_url", "image_url": { "url": "data:image/jpeg;base64,/9j/4AAQ" } },
                { "type": "file", "file": { "filename": "Report", "file_data": "data:application/pdf;base64,JVBERi0=" } },
                { "type": "text", "text": "Summarise." },
            ]},
        ],
    });
    assert_eq!(value(&body), expected);
    let body = json!({
        "max_tokens": 5, "stop_sequences": ["a", "b"], "temperature": 0.5, "stream": true,
        "system": "S", "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
        "tools": [{ "name": "f", "input_schema": { "type": "object" } }],
        "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } },
        "messages": [
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "x", "signature": "y" }, { "type": "text", "text": "Yes." }] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "t", "is_error": true, "content": [
                    { "type": "text", "text": "broken" },
                    { "type": "image", "source": { "type": "url", "url": "https://example.org/a.png" } }] },
                { "type": "text", "text": "Again" }] },
        ],
    });
    let body = to_chat(body.to_string().as_bytes(), "gpt", false).expect("translates");
    let expected = json!({
        "model": "gpt", "max_completion_tokens": 5, "stop": ["a", "b"], "temperature": 0.5,
        "stream": true, "stream_options": { "include_usage": true },
        "tool_choice": "required", "parallel_tool_calls": false,
        "tools": [{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }],
        "response_format": { "type": "json_schema",
            "json_schema": { "name": "answer", "strict": true, "schema": { "type": "object" } } },
        "messages": [
            { "role": "system", "content": "S" },
            { "role": "assistant", "content": "Yes." },
            { "role": "tool", "tool_call_id": "t", "content": "Error: broken" },
            { "role": "user", "content": [
                { "type": "image_url", "image_url": { "url": "https://example.org/a.png" } },
                { "type": "text", "text": "Again" }] },
        ],
    });
    assert_eq!(value(&body), expected);
}

#[test]
fn a_document_that_is_text_is_said_as_text() {
    let source = json!({ "type": "text", "media_type": "text/plain", "data": "plain \"words\"" });
    let content = json!([
        { "type": "document", "source": source },
        { "type": "document", "title": "A title", "source": source },
    ]);
    let body = json!({ "max_tokens": 5, "messages": [{ "role": "user", "content": content }] });
    let body = to_chat(body.to_string().as_bytes(), "gpt", true).expect("translates");
    let expected = json!([
        { "type": "text", "text": "plain \"words\"" },
        { "type": "text", "text": "A title\n\nplain \"words\"" },
    ]);
    assert_eq!(value(&body)["messages"][0]["content"], expected);
}
