//! A guardrail by itself, for what Converse does not carry.

use serde::{Deserialize, Serialize};

use super::{Bedrock, encoded};
use crate::{
    failure::{Class, Failed},
    providers::Order,
    wire::not_json,
};

#[derive(Serialize)]
struct Request<'a> {
    source: &'static str,
    content: [Content<'a>; 1],
}

#[derive(Serialize)]
struct Content<'a> {
    text: Text<'a>,
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    action: Option<String>,
}

/// As OpenAI says that a filter held something back.
const REFUSED: &str = r#"{"error":{"message":"a guardrail does not let this input pass","type":"invalid_request_error","param":"input","code":"content_filter"}}"#;

impl Bedrock {
    /// Refuses a text that the guardrail, if there is one, would hold back or change: what it
    /// would put in its place is not what was asked for.
    pub(super) async fn guard(&self, order: &Order<'_>, text: &str) -> Result<(), Failed> {
        let Some((id, version)) = &self.guardrail else { return Ok(()) };
        let request = Request { source: "INPUT", content: [Content { text: Text { text } }] };
        let body = serde_json::to_vec(&request).map_err(|error| not_json(&error))?;
        let path = format!("/guardrail/{}/version/{}/apply", encoded(id), encoded(version));
        let response = self.send(order, &path, body.into()).await.map_err(|failed| match failed.class {
            // It is not the client that named it.
            Class::NoModel | Class::Refused => Failed { class: Class::Misconfigured, body: None, ..failed },
            _ => failed,
        })?;
        let body = self.http.whole(response, order.deadline).await?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| not_json(&error))?;
        match answer.action.as_deref() {
            Some("NONE") => Ok(()),
            Some(_) => Err(Failed {
                status: Some(http::StatusCode::BAD_REQUEST),
                body: Some(REFUSED.into()),
                ..Failed::new(Class::Refused, "a guardrail does not let this input pass")
            }),
            None => Err(Failed::malformed("the guardrail's answer has no action")),
        }
    }
}
