//! A chat request as a messages request.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Content, data_url, json, refused, text};
use crate::{
    failure::{Class, Failed},
    wire::There,
};

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    #[serde(borrow)]
    stop: Option<&'a RawValue>,
    stream: Option<bool>,
    #[serde(borrow)]
    tools: Option<Vec<Tool<'a>>>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    parallel_tool_calls: Option<bool>,
    #[serde(borrow)]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    n: Option<u32>,
    logprobs: Option<bool>,
    #[serde(default)]
    audio: There,
    #[serde(default)]
    functions: There,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    tool_call_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    image_url: Option<Url<'a>>,
    #[serde(borrow)]
    file: Option<File<'a>>,
}

#[derive(Deserialize)]
struct Url<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    file_data: Option<Cow<'a, str>>,
    #[serde(borrow)]
    filename: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    function: Called<'a>,
}

#[derive(Deserialize)]
struct Called<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    arguments: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    description: Option<Cow<'a, str>>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    json_schema: Option<JsonSchema<'a>>,
}

#[derive(Deserialize)]
struct JsonSchema<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the API's own names")]
struct Messages<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<OutTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Image {
        source: Source<'a>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<Cow<'a, str>>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        input: Box<RawValue>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        content: Vec<Block<'a>>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source<'a> {
    Base64 { media_type: String, data: String },
    Url { url: Cow<'a, str> },
}

#[derive(Serialize)]
struct OutTool<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    input_schema: Cow<'a, RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
struct Choice {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    user_id: Cow<'a, str>,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    format: Format<'a>,
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: &'a RawValue,
}

/// Said to a model that has no switch for it.
const ONLY_JSON: &str = "Answer with one JSON object and nothing else.";

/// `body` for Anthropic's API. `output_max` is what is asked for where the client says
/// nothing, because there it must be said.
pub(crate) fn to_messages(body: &[u8], model: &str, output_max: u64) -> Result<Bytes, Failed> {
    let chat: Chat<'_> = serde_json::from_slice(body).map_err(|error| refused(&error))?;
    for (there, what) in [
        (chat.n.unwrap_or(1) > 1, "n above 1"),
        (chat.logprobs == Some(true), "logprobs"),
        (chat.audio.0, "audio"),
        (chat.functions.0, "functions (use tools)"),
    ] {
        if there {
            return Err(Failed::unsupported(format!("the provider's API has no {what}")));
        }
    }
    let (mut system, messages) = turns(chat.messages)?;
    let output_config = match &chat.response_format {
        Some(format) if format.kind == "json_schema" => {
            let schema = format.json_schema.as_ref().and_then(|it| it.schema);
            schema.map(|schema| OutputConfig { format: Format { kind: "json_schema", schema } })
        }
        Some(format) if format.kind == "json_object" => {
            system.push(Block::Text { text: ONLY_JSON.into() });
            None
        }
        _ => None,
    };
    let tools = tools(chat.tools.unwrap_or_default())?;
    let tool_choice =
        if tools.is_empty() { None } else { choice(chat.tool_choice, chat.parallel_tool_calls)? };
    let messages = Messages {
        model,
        max_tokens: chat.max_completion_tokens.or(chat.max_tokens).unwrap_or(output_max),
        system,
        messages,
        // OpenAI's scale ends at 2, Anthropic's at 1.
        temperature: chat.temperature.map(|it| it.min(1.0)),
        top_p: chat.top_p,
        stop_sequences: chat.stop.map(stops).transpose()?.unwrap_or_default(),
        tools,
        tool_choice,
        metadata: chat.user.map(|user_id| Metadata { user_id }),
        output_config,
        stream: chat.stream.unwrap_or(false),
    };
    Ok(json(&messages).into())
}

fn stops(raw: &RawValue) -> Result<Vec<String>, Failed> {
    if raw.get().starts_with('"') {
        return Ok(vec![text(raw).map_err(|error| refused(&error))?.into_owned()]);
    }
    serde_json::from_str::<Option<Vec<String>>>(raw.get())
        .map(Option::unwrap_or_default)
        .map_err(|error| refused(&error))
}

/// System blocks, and turns in which neighbours of one role are one: results of parallel
/// tools must come together.
fn turns(messages: Vec<Message<'_>>) -> Result<(Vec<Block<'_>>, Vec<Turn<'_>>), Failed> {
    let mut system = Vec::new();
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for message in messages {
        let mut blocks = match message.content {
            Some(content) if content.get() != "null" => blocks(content)?,
            _ => Vec::new(),
        };
        let role = match &*message.role {
            "system" | "developer" => {
                system.append(&mut blocks);
                continue;
            }
            "user" => "user",
            "assistant" => {
                for call in message.tool_calls.unwrap_or_default() {
                    blocks.push(Block::ToolUse {
                        id: call.id,
                        name: call.function.name,
                        input: arguments(&call.function.arguments),
                    });
                }
                "assistant"
            }
            "tool" => {
                let tool_use_id = message.tool_call_id.unwrap_or_default();
                blocks = vec![Block::ToolResult { tool_use_id, content: blocks }];
                "user"
            }
            _ => return Err(Failed::unsupported("the provider's API has no such role")),
        };
        match turns.last_mut() {
            Some(last) if last.role == role => last.content.append(&mut blocks),
            _ if blocks.is_empty() => {}
            _ => turns.push(Turn { role, content: blocks }),
        }
    }
    Ok((system, turns))
}

/// A model's arguments are text that should be a JSON object; what is none is kept inside one.
fn arguments(text: &str) -> Box<RawValue> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let object = text.trim_start().starts_with('{').then(|| RawValue::from_string(text.to_owned()).ok());
    object.flatten().unwrap_or_else(|| {
        // An object of one text is JSON.
        RawValue::from_string(json(&serde_json::json!({ "arguments": text }))).unwrap_or_default()
    })
}

fn blocks(content: &RawValue) -> Result<Vec<Block<'_>>, Failed> {
    let content = Content::<Part<'_>>::read(content).map_err(|error| refused(&error))?;
    let parts = match content {
        // Empty texts are refused there, and say nothing anyway.
        Content::Text(text) if text.is_empty() => return Ok(Vec::new()),
        Content::Text(text) => return Ok(vec![Block::Text { text }]),
        Content::Parts(parts) => parts,
    };
    let mut blocks = Vec::with_capacity(parts.len());
    for part in parts {
        blocks.push(match part {
            Part { text: Some(text), .. } | Part { refusal: Some(text), .. } => {
                if text.is_empty() {
                    continue;
                }
                Block::Text { text }
            }
            Part { image_url: Some(url), .. } => Block::Image { source: source(url.url) },
            Part { file: Some(File { file_data: Some(data), filename }), .. } => {
                Block::Document { source: source(data), title: filename }
            }
            Part { kind, .. } => {
                let kind = steadfast_core::shown(&kind, 40);
                return Err(Failed::unsupported(format!("the provider's API has no {kind:?} in messages")));
            }
        });
    }
    Ok(blocks)
}

fn source(url: Cow<'_, str>) -> Source<'_> {
    match data_url(&url) {
        Some((media_type, data)) => Source::Base64 { media_type: media_type.into(), data: data.into() },
        None => Source::Url { url },
    }
}

fn tools(tools: Vec<Tool<'_>>) -> Result<Vec<OutTool<'_>>, Failed> {
    tools
        .into_iter()
        .map(|tool| {
            let function = tool.function.filter(|_| tool.kind == "function");
            let function = function
                .ok_or_else(|| Failed::unsupported("the provider's API has no tools of this type"))?;
            let input_schema = match function.parameters {
                Some(schema) => Cow::Borrowed(schema),
                None => Cow::Owned(
                    RawValue::from_string(r#"{"type":"object","properties":{}}"#.into()).unwrap_or_default(),
                ),
            };
            Ok(OutTool {
                name: function.name,
                description: function.description,
                input_schema,
                strict: function.strict.filter(|strict| *strict),
            })
        })
        .collect()
}

fn choice(raw: Option<&RawValue>, parallel: Option<bool>) -> Result<Option<Choice>, Failed> {
    #[derive(Deserialize)]
    struct Named {
        function: Option<Function>,
    }
    #[derive(Deserialize)]
    struct Function {
        name: String,
    }
    let disable_parallel_tool_use = (parallel == Some(false)).then_some(true);
    let Some(raw) = raw else {
        let auto = Choice { kind: "auto", name: None, disable_parallel_tool_use };
        return Ok(disable_parallel_tool_use.map(|_| auto));
    };
    let (kind, name) = match raw.get() {
        "\"none\"" => return Ok(Some(Choice { kind: "none", name: None, disable_parallel_tool_use: None })),
        "\"auto\"" | "null" => ("auto", None),
        "\"required\"" => ("any", None),
        object => {
            let named: Named = serde_json::from_str(object).map_err(|error| refused(&error))?;
            let function = named.function.ok_or_else(|| {
                Failed::new(Class::Unsupported, "the provider's API has no such tool_choice")
            })?;
            ("tool", Some(function.name))
        }
    };
    Ok(Some(Choice { kind, name, disable_parallel_tool_use }))
}
