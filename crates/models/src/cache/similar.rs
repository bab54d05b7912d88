//! The same question in other words.
//!
//! Two gates, and both must open: all that could change the answer is equal ([`slots`]),
//! and the embeddings are near. What stands around the question is equal as well: whose it
//! is, the route, the model, the system prompt, the messages before it, the parameters. No
//! tools. Where something was found in this way, the answer says so.

use std::{collections::HashMap, ops::Range};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use steadfast_resilience::Deadline;

use super::{Key, slots::slots};
use crate::{Call, Operation, config::ShareWith, providers::local_vector, wire::edit::Edits};

/// Answers to one question in other words; more are not needed.
const ALIKE_MAX: usize = 8;
/// Numbers in an embedding that is made here.
const DIMENSIONS: u64 = 256;

/// Turns a text into a point, such that texts of one meaning are near each other.
pub(crate) trait Embedder: Send + Sync {
    /// The point, of length 1; none if it cannot be had in time.
    fn embed<'a>(&'a self, text: &'a str, deadline: &'a Deadline) -> BoxFuture<'a, Option<Vec<f32>>>;
}

/// Counts words and parts of words; always the same, and without asking anybody.
pub(crate) struct Counting;

impl Embedder for Counting {
    fn embed<'a>(&'a self, text: &'a str, _: &'a Deadline) -> BoxFuture<'a, Option<Vec<f32>>> {
        let point = local_vector(&text.to_lowercase(), DIMENSIONS);
        Box::pin(async move { Some(point) })
    }
}

/// By what an answer is found for the same question in other words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Near {
    /// What must be equal.
    #[serde(with = "super::file::hex_key")]
    pub(super) same: Key,
    /// What must be near.
    pub(super) point: Vec<f32>,
}

impl Near {
    pub(super) fn size(&self) -> usize {
        2 * size_of_val(&self.point[..])
    }
}

/// The question of a call, and what must be equal for another one to be the same.
pub(super) struct Question {
    pub(super) text: String,
    pub(super) same: Key,
}

#[derive(Deserialize)]
struct Message<'a> {
    role: &'a str,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

/// The question that a call ends with, if it is plain text of a user and nothing else.
pub(super) fn question(call: &Call, route: &str, share: ShareWith) -> Option<Question> {
    if call.operation == Operation::Embeddings || call.asked.tools {
        return None;
    }
    let messages = call.body.get(call.asked.at.messages.clone())?;
    let messages: Vec<&RawValue> = serde_json::from_slice(messages).ok()?;
    let last: Message<'_> = serde_json::from_str(messages.last()?.get()).ok()?;
    if last.role != "user" {
        return None;
    }
    let said = if last.content.get().starts_with('"') {
        last.content
    } else {
        let parts: Vec<Part<'_>> = serde_json::from_str(last.content.get()).ok()?;
        let [Part { kind: "text", text: Some(text) }] = parts[..] else { return None };
        text
    };
    let text: String = serde_json::from_str(said.get()).ok()?;
    let slots = slots(&text)?;
    let mut edits = Edits::default();
    edits.replace(place(&call.body, said), "\"\"");
    let around = Key::of(call, &edits.apply(&call.body), route, share)?;
    Some(Question { same: around.with(slots.join("\u{1f}").as_bytes()), text })
}

fn place(body: &[u8], of: &RawValue) -> Range<usize> {
    let start = (of.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + of.get().len()
}

/// Which answers are to one question in other words.
#[derive(Default)]
pub(super) struct Index(HashMap<Key, Vec<(Key, Vec<f32>)>>);

impl Index {
    pub(super) fn add(&mut self, key: Key, near: &Near) {
        let alike = self.0.entry(near.same).or_default();
        alike.retain(|(other, _)| *other != key);
        if alike.len() == ALIKE_MAX {
            alike.remove(0);
        }
        alike.push((key, near.point.clone()));
    }
    pub(super) fn remove(&mut self, key: Key, near: &Near) {
        if let Some(alike) = self.0.get_mut(&near.same) {
            alike.retain(|(other, _)| *other != key);
            if alike.is_empty() {
                self.0.remove(&near.same);
            }
        }
    }
    /// Answers to the same question, the nearest first.
    pub(super) fn find(&self, near: &Near, threshold: f64) -> Vec<Key> {
        let alike = self.0.get(&near.same).map(Vec::as_slice).unwrap_or_default();
        let mut found: Vec<_> = alike
            .iter()
            .map(|(key, point)| (cosine(point, &near.point), *key))
            .filter(|(likeness, _)| *likeness >= threshold)
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.into_iter().map(|(_, key)| key).collect()
    }
}

/// The cosine of the angle between two points; 0 if they are not of one kind.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return 0.0;
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}
