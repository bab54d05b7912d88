//! Who answers, each behind one trait.
//!
//! A provider gets a call as the client made it and answers in the API that the client
//! called; whether it has to translate is its own affair. It is asked once: waiting, asking
//! again and asking others is up to the route. Dropping what it returned cancels the call.

mod anthropic;
#[cfg(feature = "bedrock")]
mod bedrock;
mod by_messages;
mod connect;
mod http;
mod local;
mod openai;
mod patience;
mod status;

use std::{ops::Range, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, future::BoxFuture};
use steadfast_core::{
    Coded, Fault, World,
    config::{Environment, SecretError},
};
use steadfast_resilience::Deadline;

#[cfg(all(test, feature = "bedrock"))]
pub(crate) use bedrock::Frames as AwsFrames;
pub(crate) use local::{Local, vector as local_vector};
pub(crate) use patience::Patience;

use crate::{
    answer::{Frame, Usage},
    call::{Call, Operation},
    config::{Kind, NOT_BUILT, ProviderConfig},
    failure::Failed,
    wire::{
        edit::{Edits, first_member, quoted},
        thoughts::left_out,
    },
};

/// What one provider is asked.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    /// The call.
    pub(crate) call: &'a Call,
    /// What the provider calls the model.
    pub(crate) model: &'a str,
    /// What somebody else already said of the answer.
    pub(crate) so_far: Option<&'a str>,
    /// When it must be over.
    pub(crate) deadline: &'a Deadline,
}

/// The events of a stream, until it ends or fails.
pub(crate) type Events = Pin<Box<dyn Stream<Item = Result<Frame, Failed>> + Send>>;

/// What a provider answers.
pub(crate) enum Reply {
    /// At once.
    Whole(Bytes, Option<Usage>),
    /// As it comes.
    Stream(Events),
}

/// One that answers.
pub(crate) trait Provider: Send + Sync {
    /// Asks once.
    fn ask<'a>(&'a self, order: Order<'a>) -> BoxFuture<'a, Result<Reply, Failed>>;
}

/// A provider that cannot be set up, or a route to it.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A secret of it is not where the configuration says.
    #[error("provider {0}: `{1}`: {2}")]
    Key(String, &'static str, SecretError),
    /// Its address is none. It may have a password in it, so it is not repeated.
    #[error("provider {0}: `url` and `query` are no address such as https://api.openai.com/v1")]
    Address(String),
    /// Something that has to be sent as a header, and cannot be.
    #[error("provider {0}: `{1}` has a name or value that HTTP does not allow in a header")]
    Header(String, String),
    /// It is not in this build.
    #[error("provider {0}: {NOT_BUILT}")]
    NotBuilt(String),
    /// Nobody says in which region it is.
    #[error("provider {0}: expected `bedrock.region`, or the variable AWS_REGION")]
    NoRegion(String),
    /// Nobody says who asks.
    #[error(
        "provider {0}: expected `key`, `bedrock.access_key_id`, or the variables that Amazon's own \
         tools read, such as AWS_BEARER_TOKEN_BEDROCK"
    )]
    NoCredentials(String),
    /// The machine's certificates cannot be used.
    #[error("the machine's root certificates cannot be used: {0}")]
    Certificates(String),
    /// A route to nobody.
    #[error("route {0}: there is no provider {1:?}")]
    Route(String, String),
}

impl ProviderError {
    /// Where in `[models]` it is.
    pub fn field(&self) -> String {
        let of = |name: &str, field: &str| format!("providers.{name}.{field}");
        match self {
            Self::Key(name, field, _) => of(name, field),
            Self::Address(name) => of(name, "url"),
            Self::Header(name, field) => of(name, field),
            Self::NotBuilt(name) => of(name, "kind"),
            Self::NoRegion(name) => of(name, "bedrock.region"),
            Self::NoCredentials(name) => of(name, "key"),
            Self::Certificates(_) => "providers".into(),
            Self::Route(route, _) => format!("routes.{route}.targets"),
        }
    }
}

impl Coded for ProviderError {
    fn code(&self) -> &'static str {
        match self {
            Self::Key(..) | Self::NoCredentials(_) => "provider.no_key",
            Self::Address(..) => "provider.invalid_address",
            Self::Header(..) => "provider.invalid_header",
            Self::NotBuilt(_) => "provider.not_built",
            Self::NoRegion(_) => "provider.no_region",
            Self::Certificates(_) => "provider.no_certificates",
            Self::Route(..) => "route.no_such_provider",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// The provider of that name.
pub(crate) fn provider(
    name: &Arc<str>,
    config: &ProviderConfig,
    env: &Environment,
    world: &World,
) -> Result<Box<dyn Provider>, ProviderError> {
    Ok(match config.kind {
        Kind::OpenAi => Box::new(openai::OpenAi::new(name, config, env, world)?),
        Kind::Anthropic => Box::new(anthropic::Anthropic::new(name, config, env, world)?),
        #[cfg(feature = "bedrock")]
        Kind::Bedrock => Box::new(bedrock::Bedrock::new(name, config, env, world)?),
        #[cfg(not(feature = "bedrock"))]
        Kind::Bedrock => return Err(ProviderError::NotBuilt(name.to_string())),
        Kind::Local => Box::new(local::Local::new(world)),
    })
}

/// Asked for at the end of a conversation whose last answer broke off.
const GO_ON: &str = "Your last message broke off. Go on exactly where it ends, in the middle of a word \
    if need be. Repeat nothing of it and say nothing else.";

/// What every provider's body needs: options of ours taken out, and what was said so far and
/// how long an answer may be put in.
fn edits(order: &Order<'_>, legacy_max: bool) -> Edits {
    let mut edits = Edits::default();
    let call = order.call;
    if let Some(most) = call.output_forced {
        let [old, new, responses] = &call.asked.at.output_max;
        // Whoever reads the new name of a chat reads the old one too.
        let (name, place, other) = match call.operation {
            Operation::Responses => ("max_output_tokens", responses, &None),
            Operation::Chat if !legacy_max => ("max_completion_tokens", new, old),
            _ => ("max_tokens", old, &None),
        };
        let said = |place: &Option<Range<usize>>| {
            place.as_ref().is_some_and(|place| call.body.get(place.clone()) != Some(b"null"))
        };
        match place {
            _ if said(place) || said(other) => {}
            // It was null.
            Some(place) => edits.replace(place.clone(), most.to_string()),
            None => edits.replace(first_member(&call.body), format!(r#""{name}":{most},"#)),
        }
    }
    if let Some((place, left)) = &call.asked.at.metadata {
        edits.replace(place.clone(), left.clone());
    }
    if let Some(text) = order.so_far {
        let messages = &call.asked.at.messages;
        let end = messages.end.saturating_sub(1);
        let inside = call.body.get(messages.start + 1..end).unwrap_or_default();
        let comma = if inside.trim_ascii().is_empty() { "" } else { "," };
        let (text, go_on) = (quoted(text), quoted(GO_ON));
        let turns =
            format!(r#"{comma}{{"role":"assistant","content":{text}}},{{"role":"user","content":{go_on}}}"#);
        edits.replace(end..end, turns);
    }
    edits
}

/// The same, for a provider of the client's own API: the model under the provider's name, and
/// no thoughts that are nobody's.
fn same_api(order: &Order<'_>, legacy_max: bool) -> Edits {
    let mut edits = edits(order, legacy_max);
    let call = order.call;
    left_out(call.operation, &call.body, &call.asked.at.messages, &mut edits);
    if order.model != order.call.asked.model {
        let form = order.call.operation == Operation::Transcription;
        let model = if form { order.model.to_owned() } else { quoted(order.model) };
        edits.replace(order.call.asked.at.model.clone(), model);
    }
    edits
}

/// Operations that a provider does not have.
fn no_such(operation: Operation) -> Failed {
    Failed::unsupported(format!("the provider has no {}", operation.name()))
}
