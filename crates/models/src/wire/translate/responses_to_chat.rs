//! A responses request as a chat request.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Content,
    chat_request::{
        self, Call, Chat, Choice, File, Function, JsonSchema, Message, Name, Part, ResponseFormat, Said, Url,
    },
    refused, text,
};
use crate::{failure::Failed, wire::There};

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    input: &'a RawValue,
    #[serde(borrow)]
    instructions: Option<Cow<'a, str>>,
    max_output_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    stream: Option<bool>,
    #[serde(borrow)]
    tools: Option<Vec<Tool<'a>>>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    parallel_tool_calls: Option<bool>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(default)]
    previous_response_id: There,
    #[serde(default)]
    conversation: There,
    #[serde(default)]
    prompt: There,
    top_logprobs: Option<u64>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    call_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<Cow<'a, str>>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct InPart<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    image_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    detail: Option<Cow<'a, str>>,
    #[serde(borrow)]
    file_data: Option<Cow<'a, str>>,
    #[serde(borrow)]
    filename: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    description: Option<Cow<'a, str>>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow)]
    format: Option<Format<'a>>,
}

#[derive(Deserialize)]
struct Format<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    strict: Option<bool>,
}

/// `body` for OpenAI's chat. `legacy_max` says the limit as `max_tokens`, which is all that
/// older servers know.
pub(crate) fn responses_to_chat(body: &[u8], model: &str, legacy_max: bool) -> Result<Bytes, Failed> {
    let request: Request<'_> = serde_json::from_slice(body).map_err(|error| refused(&error))?;
    for (there, what) in [
        (request.previous_response_id.0, "previous_response_id (send the whole conversation)"),
        (request.conversation.0, "conversation (send the whole conversation)"),
        (request.prompt.0, "prompt"),
        (request.top_logprobs.unwrap_or(0) > 0, "top_logprobs"),
    ] {
        if there {
            return Err(Failed::unsupported(format!("the provider's API has no {what}")));
        }
    }
    let mut messages = Vec::new();
    if let Some(instructions) = request.instructions {
        messages.push(Message::of("system", Said::Text(instructions)));
    }
    input(request.input, &mut messages)?;
    let tools: Vec<_> = request.tools.unwrap_or_default().into_iter().map(tool).collect::<Result<_, _>>()?;
    let format = request.text.and_then(|it| it.format).filter(|it| it.kind != "text");
    let chat = Chat {
        model,
        messages,
        temperature: request.temperature,
        top_p: request.top_p,
        tool_choice: request.tool_choice.filter(|_| !tools.is_empty()).map(choice).transpose()?.flatten(),
        parallel_tool_calls: request.parallel_tool_calls.filter(|_| !tools.is_empty()),
        tools,
        response_format: format.map(|format| ResponseFormat {
            json_schema: (format.kind == "json_schema").then(|| JsonSchema {
                name: format.name.unwrap_or("answer".into()),
                strict: format.strict,
                schema: format.schema,
            }),
            kind: format.kind,
        }),
        user: request.user,
        stream: request.stream.unwrap_or(false),
        ..Chat::default()
    };
    Ok(chat.written(request.max_output_tokens, legacy_max))
}

fn input<'a>(input: &'a RawValue, messages: &mut Vec<Message<'a>>) -> Result<(), Failed> {
    let items = match Content::<Item<'_>>::read(input).map_err(|error| refused(&error))? {
        Content::Text(text) => {
            messages.push(Message::of("user", Said::Text(text)));
            return Ok(());
        }
        Content::Parts(items) => items,
    };
    for item in items {
        match item.kind.as_deref().unwrap_or("message") {
            "message" => {
                let role = match item.role.as_deref() {
                    Some("assistant") => "assistant",
                    Some("system" | "developer") => "system",
                    _ => "user",
                };
                let content = item.content.map(said).transpose()?;
                messages.push(Message { role, content, ..Message::default() });
            }
            "function_call" => {
                let call = Call::of(
                    item.call_id.unwrap_or_default(),
                    item.name.unwrap_or_default(),
                    item.arguments.unwrap_or_default(),
                );
                // Calls of one turn are one message.
                match messages.last_mut() {
                    Some(last) if last.role == "assistant" => last.tool_calls.push(call),
                    _ => messages.push(Message {
                        role: "assistant",
                        tool_calls: vec![call],
                        ..Message::default()
                    }),
                }
            }
            "function_call_output" => messages.push(Message {
                role: "tool",
                content: item.output.map(said).transpose()?,
                tool_call_id: item.call_id,
                ..Message::default()
            }),
            // Thoughts are for their own provider alone.
            "reasoning" => {}
            kind => return Err(no_such("item", kind)),
        }
    }
    Ok(())
}

fn no_such(what: &str, kind: &str) -> Failed {
    let kind = steadfast_core::shown(kind, 40);
    Failed::unsupported(format!("the provider's API has no {what} {kind:?}"))
}

fn said(content: &RawValue) -> Result<Said<'_>, Failed> {
    let parts = match Content::<InPart<'_>>::read(content).map_err(|error| refused(&error))? {
        Content::Text(text) => return Ok(Said::Text(text)),
        Content::Parts(parts) => parts,
    };
    let all_text = parts.iter().all(|part| part.text.is_some() || part.refusal.is_some());
    let parts: Vec<_> = parts.into_iter().map(part).collect::<Result<_, _>>()?;
    if !all_text {
        return Ok(Said::Parts(parts));
    }
    let text = parts.into_iter().fold(Cow::Borrowed(""), |all, part| match part {
        Part::Text { text } if all.is_empty() => text,
        Part::Text { text } => (all.into_owned() + &text).into(),
        Part::ImageUrl { .. } | Part::File { .. } => all,
    });
    Ok(Said::Text(text))
}

fn part(part: InPart<'_>) -> Result<Part<'_>, Failed> {
    match part {
        InPart { text: Some(text), .. } | InPart { refusal: Some(text), .. } => Ok(Part::Text { text }),
        InPart { image_url: Some(url), detail, .. } => Ok(Part::ImageUrl { image_url: Url { url, detail } }),
        InPart { file_data: Some(file_data), filename, .. } => {
            let filename = filename.unwrap_or("document".into());
            Ok(Part::File { file: File { filename, file_data } })
        }
        InPart { kind, .. } => Err(no_such("content", &kind)),
    }
}

fn tool(tool: Tool<'_>) -> Result<chat_request::Tool<'_>, Failed> {
    let Some(name) = tool.name.filter(|_| tool.kind == "function") else {
        return Err(no_such("tool", &tool.kind));
    };
    let parameters = tool.parameters.filter(|it| it.get() != "null");
    Ok(Function { name, description: tool.description, parameters, strict: tool.strict }.into())
}

fn choice(raw: &RawValue) -> Result<Option<Choice<'_>>, Failed> {
    Ok(Some(match raw.get() {
        "null" => return Ok(None),
        word if word.starts_with('"') => match &*text(raw).map_err(|error| refused(&error))? {
            "auto" => Choice::Word("auto"),
            "none" => Choice::Word("none"),
            "required" => Choice::Word("required"),
            other => return Err(no_such("tool_choice", other)),
        },
        object => serde_json::from_str::<Name<'_>>(object)
            .map_err(|_| Failed::unsupported("the provider's API has no such tool_choice"))?
            .into(),
    }))
}
