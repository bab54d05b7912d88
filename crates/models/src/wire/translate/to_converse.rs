//! A messages request as one of Amazon's Converse.
//!
//! The two say nearly the same in other words. What Converse leaves to models (`thinking`,
//! `top_k`, one tool at a time) is said to Anthropic's models alone, in their own words.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    Content,
    converse_request::{
        Blob, Choice, Guardrail, Inference, JsonSchema, OneTool, OutputConfig, OwnWords, Part, Reasoning,
        Request, Schema, Structure, TextFormat, ToolConfig, Turn,
    },
    json,
    messages_request::{self, Block, CacheControl, Messages, Source, Tool},
    refused,
};
use crate::failure::Failed;

/// What is not in the message.
pub(crate) struct Converse<'a> {
    /// The model, which stands in the address.
    pub(crate) model: &'a str,
    /// The most tokens of the answer, if anybody said.
    pub(crate) output_max: Option<u64>,
    /// Id and version of what guards it.
    pub(crate) guardrail: Option<(&'a str, &'a str)>,
}

/// The message in `body`, for Converse.
pub(crate) fn to_converse(body: &[u8], about: &Converse<'_>) -> Result<Bytes, Failed> {
    let request: Messages<'_> = serde_json::from_slice(body).map_err(|error| refused(&error))?;
    let mut translator = Translator {
        anthropic: about.model.contains("anthropic."),
        uses_tools: false,
        documents: Vec::new(),
    };
    let system = match request.system.filter(|it| it.get() != "null") {
        Some(system) => translator.parts(system)?,
        None => Vec::new(),
    };
    let messages = translator.turns(request.messages)?;
    let mut own = OwnWords::default();
    if translator.anthropic {
        (own.thinking, own.top_k) = (request.thinking.filter(|it| it.get() != "null"), request.top_k);
    }
    let tools = request.tools.unwrap_or_default();
    let tool_config = translator.tools(tools, request.tool_choice, &mut own)?;
    let output_config = request.output_config.map(|it| OutputConfig {
        text_format: it.format.and_then(|it| it.schema).map(|schema| TextFormat {
            kind: "json_schema",
            structure: Structure { json_schema: JsonSchema { name: "answer", schema: schema.get() } },
        }),
        effort: it.effort,
    });
    let is_said = own.thinking.is_some() || own.top_k.is_some() || own.tool_choice.is_some();
    let request = Request {
        messages,
        system,
        inference_config: Inference {
            max_tokens: about.output_max,
            temperature: request.temperature,
            top_p: request.top_p,
            stop_sequences: request.stop_sequences.filter(|it| !matches!(it.get(), "null" | "[]")),
        },
        tool_config,
        guardrail_config: about.guardrail.map(|(guardrail_identifier, guardrail_version)| Guardrail {
            guardrail_identifier,
            guardrail_version,
        }),
        additional_model_request_fields: is_said.then_some(own),
        output_config: output_config.filter(|it| it.text_format.is_some() || it.effort.is_some()),
    };
    Ok(json(&request).into())
}

fn cannot(what: &str) -> Failed {
    let what = steadfast_core::shown(what, 60);
    Failed::unsupported(format!("the provider's API has no {what}"))
}

struct Translator {
    anthropic: bool,
    /// Were tools called before?
    uses_tools: bool,
    /// Names of documents so far: none may come twice.
    documents: Vec<String>,
}

impl Translator {
    /// Turns in which neighbours of one role are one, as roles must take turns.
    fn turns<'a>(&mut self, turns: Vec<messages_request::Turn<'a>>) -> Result<Vec<Turn<'a>>, Failed> {
        let mut out: Vec<Turn<'a>> = Vec::new();
        for turn in turns {
            let role = match &*turn.role {
                "user" => "user",
                "assistant" => "assistant",
                other => return Err(cannot(&format!("role {other:?}"))),
            };
            let mut content = self.parts(turn.content)?;
            match out.last_mut() {
                Some(last) if last.role == role => last.content.append(&mut content),
                _ if content.is_empty() => {}
                _ => out.push(Turn { role, content }),
            }
        }
        Ok(out)
    }
    fn parts<'a>(&mut self, content: &'a RawValue) -> Result<Vec<Part<'a>>, Failed> {
        let blocks = match Content::<Block<'_>>::read(content).map_err(|error| refused(&error))? {
            // Empty texts are refused there, and say nothing anyway.
            Content::Text(text) if text.trim().is_empty() => return Ok(Vec::new()),
            Content::Text(text) => return Ok(vec![Part::Text(text)]),
            Content::Parts(blocks) => blocks,
        };
        let mut parts = Vec::with_capacity(blocks.len());
        for mut block in blocks {
            let cache_control = block.cache_control.take();
            parts.extend(self.part(block)?);
            parts.extend(cache_control.map(cache_point));
        }
        Ok(parts)
    }
    fn part<'a>(&mut self, block: Block<'a>) -> Result<Option<Part<'a>>, Failed> {
        Ok(Some(match &*block.kind {
            "text" => match block.text.filter(|text| !text.trim().is_empty()) {
                Some(text) => Part::Text(text),
                None => return Ok(None),
            },
            "image" => image(block.source)?,
            "document" => self.document(block)?,
            "tool_use" => {
                self.uses_tools = true;
                let input = block.input.ok_or_else(|| cannot("tool_use without input"))?;
                let tool_use_id = block.id.unwrap_or_default();
                Part::ToolUse { tool_use_id, name: block.name.unwrap_or_default(), input }
            }
            "tool_result" => {
                self.uses_tools = true;
                let content = match block.content.filter(|it| it.get() != "null") {
                    Some(content) => self.parts(content)?,
                    None => Vec::new(),
                };
                let status = (block.is_error == Some(true)).then_some("error");
                Part::ToolResult { tool_use_id: block.tool_use_id.unwrap_or_default(), content, status }
            }
            // Thoughts are signed for their own model alone.
            "thinking" | "redacted_thinking" if !self.anthropic => return Ok(None),
            "thinking" => Part::ReasoningContent(Reasoning::ReasoningText {
                text: block.thinking.unwrap_or_default(),
                signature: block.signature,
            }),
            "redacted_thinking" => {
                Part::ReasoningContent(Reasoning::RedactedContent(block.data.unwrap_or_default()))
            }
            other => return Err(cannot(&format!("{other:?} in messages"))),
        }))
    }
    fn document<'a>(&mut self, block: Block<'a>) -> Result<Part<'a>, Failed> {
        let source = block.source.ok_or_else(|| cannot("document without source"))?;
        let media_type = source.media_type.as_deref().unwrap_or_default();
        let format =
            document_format(media_type).ok_or_else(|| cannot(&format!("document of type {media_type:?}")))?;
        let bytes = match (&*source.kind, source.data) {
            ("base64", Some(data)) => data,
            ("text", Some(text)) => STANDARD.encode(text.as_bytes()).into(),
            (other, _) => return Err(cannot(&format!("document by {other:?}"))),
        };
        let mut name = document_name(block.title.as_deref().unwrap_or_default());
        if self.documents.contains(&name) {
            name = format!("{name} {}", self.documents.len() + 1);
        }
        self.documents.push(name.clone());
        Ok(Part::Document { format, name, source: Blob { bytes } })
    }
    fn tools<'a>(
        &self,
        tools: Vec<Tool<'a>>,
        choice: Option<messages_request::Choice<'a>>,
        own: &mut OwnWords<'a>,
    ) -> Result<Option<ToolConfig<'a>>, Failed> {
        let mut list = Vec::with_capacity(tools.len());
        for tool in tools {
            let json = tool.input_schema.ok_or_else(|| cannot("tools of its own"))?;
            list.push(Part::ToolSpec {
                name: tool.name,
                description: tool.description.filter(|text| !text.is_empty()),
                input_schema: Schema { json },
                strict: tool.strict.filter(|strict| *strict),
            });
            list.extend(tool.cache_control.map(cache_point));
        }
        if list.is_empty() {
            return Ok(None);
        }
        let Some(choice) = choice else { return Ok(Some(ToolConfig { tools: list, tool_choice: None })) };
        if choice.kind == "none" {
            // Where tools were called before they must be listed, and then may be called.
            return if self.uses_tools {
                Err(cannot("tool_choice \"none\" after tool calls"))
            } else {
                Ok(None)
            };
        }
        if choice.disable_parallel_tool_use == Some(true) {
            if !self.anthropic {
                return Err(cannot("calls of one tool at a time"));
            }
            // Said here alone: the same in two places is refused.
            let (kind, name) = (choice.kind, choice.name);
            own.tool_choice = Some(OneTool { kind, name, disable_parallel_tool_use: true });
            return Ok(Some(ToolConfig { tools: list, tool_choice: None }));
        }
        let tool_choice = match (&*choice.kind, choice.name) {
            ("any", _) => Choice::Any {},
            ("tool", Some(name)) => Choice::Tool { name },
            _ => Choice::Auto {},
        };
        Ok(Some(ToolConfig { tools: list, tool_choice: Some(tool_choice) }))
    }
}

fn cache_point(control: CacheControl<'_>) -> Part<'_> {
    Part::CachePoint { kind: "default", ttl: control.ttl }
}

fn image(source: Option<Source<'_>>) -> Result<Part<'_>, Failed> {
    let source = source.ok_or_else(|| cannot("image without source"))?;
    let (Some(media_type), Some(bytes)) = (source.media_type, source.data) else {
        return Err(cannot(&format!("image by {:?}", source.kind)));
    };
    let format = match &*media_type {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpeg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        other => return Err(cannot(&format!("image of type {other:?}"))),
    };
    Ok(Part::Image { format, source: Blob { bytes } })
}

fn document_format(media_type: &str) -> Option<&'static str> {
    const WORD: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    const SHEET: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    Some(match media_type {
        "application/pdf" => "pdf",
        "text/plain" => "txt",
        "text/csv" => "csv",
        "text/html" => "html",
        "text/markdown" => "md",
        "application/msword" => "doc",
        WORD => "docx",
        "application/vnd.ms-excel" => "xls",
        SHEET => "xlsx",
        _ => return None,
    })
}

/// A title in the letters that names of documents may have there, without two spaces in a row.
fn document_name(title: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-()[]".contains(c) { c } else { ' ' };
    let letters: String = title.chars().map(allowed).collect();
    let words: Vec<_> = letters.split(' ').filter(|word| !word.is_empty()).collect();
    let name: String = words.join(" ").chars().take(180).collect();
    if name.is_empty() { "document".into() } else { name }
}
