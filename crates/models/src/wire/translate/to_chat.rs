//! A messages request as a chat request.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    Content,
    chat_request::{
        self, Call, Chat, File, Function, JsonSchema, Message, Name, Part, ResponseFormat, Said, Url,
    },
    messages_request::{Block, Choice, Messages, Source, Tool},
    refused,
};
use crate::failure::Failed;

/// `body` for OpenAI's API. `legacy_max` says the limit as `max_tokens`, which is all that
/// older servers know.
pub(crate) fn to_chat(body: &[u8], model: &str, legacy_max: bool) -> Result<Bytes, Failed> {
    let request: Messages<'_> = serde_json::from_slice(body).map_err(|error| refused(&error))?;
    let mut messages = Vec::new();
    if let Some(system) = request.system.filter(|it| it.get() != "null") {
        let text = joined(system)?;
        messages.push(Message::of("system", Said::Text(text)));
    }
    for turn in request.messages {
        match &*turn.role {
            "assistant" => messages.push(assistant(turn.content)?),
            _ => user(turn.content, &mut messages)?,
        }
    }
    let tools = request.tools.unwrap_or_default().into_iter().map(tool).collect::<Result<_, _>>()?;
    let format = request.output_config.and_then(|it| it.format).and_then(|it| it.schema);
    let parallel_tool_calls =
        request.tool_choice.as_ref().and_then(|it| it.disable_parallel_tool_use).map(|disabled| !disabled);
    let chat = Chat {
        model,
        messages,
        temperature: request.temperature,
        top_p: request.top_p,
        stop: request.stop_sequences,
        tools,
        tool_choice: request.tool_choice.map(choice),
        parallel_tool_calls,
        response_format: format.map(|schema| ResponseFormat {
            kind: "json_schema".into(),
            json_schema: Some(JsonSchema { name: "answer".into(), strict: Some(true), schema: Some(schema) }),
        }),
        user: request.metadata.and_then(|it| it.user_id),
        stream: request.stream.unwrap_or(false),
        ..Chat::default()
    };
    Ok(chat.written(request.max_tokens, legacy_max))
}

fn read(content: &RawValue) -> Result<Content<'_, Block<'_>>, Failed> {
    Content::read(content).map_err(|error| refused(&error))
}

/// All texts of some content as one.
fn joined(content: &RawValue) -> Result<Cow<'_, str>, Failed> {
    let mut blocks = match read(content)? {
        Content::Text(text) => return Ok(text),
        Content::Parts(blocks) => blocks.into_iter().filter_map(|block| block.text),
    };
    let first = blocks.next().unwrap_or_default();
    Ok(blocks.fold(first, |all, text| (all.into_owned() + "\n" + &text).into()))
}

fn assistant(content: &RawValue) -> Result<Message<'_>, Failed> {
    let blocks = match read(content)? {
        Content::Text(text) => {
            return Ok(Message::of("assistant", Said::Text(text)));
        }
        Content::Parts(blocks) => blocks,
    };
    let mut message = Message { role: "assistant", ..Message::default() };
    let mut text = String::new();
    for block in blocks {
        match &*block.kind {
            "text" => text.push_str(&block.text.unwrap_or_default()),
            "tool_use" => message.tool_calls.push(Call::of(
                block.id.unwrap_or_default(),
                block.name.unwrap_or_default(),
                block.input.map_or("{}", RawValue::get).into(),
            )),
            // Thoughts are signed for their own provider alone.
            _ => {}
        }
    }
    message.content = (!text.is_empty()).then_some(Said::Text(text.into()));
    Ok(message)
}

/// One user's turn: results of tools first, each a message of its own, then what they say.
fn user<'a>(content: &'a RawValue, messages: &mut Vec<Message<'a>>) -> Result<(), Failed> {
    let blocks = match read(content)? {
        Content::Text(text) => {
            messages.push(Message::of("user", Said::Text(text)));
            return Ok(());
        }
        Content::Parts(blocks) => blocks,
    };
    let mut parts = Vec::new();
    for block in blocks {
        if block.kind == "tool_result" {
            messages.push(result(block, &mut parts)?);
        } else {
            parts.push(part(block)?);
        }
    }
    if !parts.is_empty() {
        messages.push(Message::of("user", Said::Parts(parts)));
    }
    Ok(())
}

/// What a tool gave back. Its pictures go with what the user says, as tools cannot show any.
fn result<'a>(block: Block<'a>, beside: &mut Vec<Part<'a>>) -> Result<Message<'a>, Failed> {
    let mut text = String::new();
    match block.content.map(read).transpose()? {
        Some(Content::Text(all)) => text.push_str(&all),
        Some(Content::Parts(inner)) => {
            for block in inner {
                match part(block)? {
                    Part::Text { text: more } => text.push_str(&more),
                    other => beside.push(other),
                }
            }
        }
        None => {}
    }
    if block.is_error == Some(true) {
        text.insert_str(0, "Error: ");
    }
    Ok(Message { tool_call_id: block.tool_use_id, ..Message::of("tool", Said::Text(text.into())) })
}

fn part(block: Block<'_>) -> Result<Part<'_>, Failed> {
    match (&*block.kind, block.source) {
        ("text", _) => Ok(Part::Text { text: block.text.unwrap_or_default() }),
        ("image", Some(source)) => Ok(Part::ImageUrl { image_url: Url { url: url(source), detail: None } }),
        // Files must be encoded, and hardly any provider takes one that is text.
        ("document", Some(source)) if source.kind == "text" => {
            let said = source.data.unwrap_or_default();
            let title = block.title.filter(|title| !title.is_empty());
            let text = match title {
                Some(title) => format!("{title}\n\n{said}").into(),
                None => said,
            };
            Ok(Part::Text { text })
        }
        ("document", Some(source)) if source.data.is_some() => {
            let filename = block.title.unwrap_or("document".into());
            Ok(Part::File { file: File { filename, file_data: url(source) } })
        }
        (kind, _) => {
            let kind = steadfast_core::shown(kind, 40);
            Err(Failed::unsupported(format!("the provider's API has no {kind:?} in messages")))
        }
    }
}

fn url(source: Source<'_>) -> Cow<'_, str> {
    let Some(data) = source.data.filter(|_| source.url.is_none()) else {
        return source.url.unwrap_or_default();
    };
    let media_type = source.media_type.as_deref().unwrap_or("application/octet-stream");
    format!("data:{media_type};base64,{data}").into()
}

fn tool(tool: Tool<'_>) -> Result<chat_request::Tool<'_>, Failed> {
    if tool.input_schema.is_none() {
        return Err(Failed::unsupported("the provider's API has no tools of its own"));
    }
    let Tool { name, description, input_schema: parameters, strict, .. } = tool;
    Ok(Function { name, description, parameters, strict }.into())
}

fn choice(choice: Choice<'_>) -> chat_request::Choice<'_> {
    match (&*choice.kind, choice.name) {
        ("any", _) => chat_request::Choice::Word("required"),
        ("none", _) => chat_request::Choice::Word("none"),
        ("tool", Some(name)) => Name { name }.into(),
        _ => chat_request::Choice::Word("auto"),
    }
}
