use std::{collections::BTreeMap, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{ConfigError, Environment, Origin, Problem, problem::join};

/// Ours, but about the command line rather than the configuration.
const NOT_CONFIGURATION: [&str; 3] = ["STEADFAST_CONFIG", "STEADFAST_TOKEN", "STEADFAST_URL"];

#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// Text of a variable: whoever reads it decides what it is.
    Raw(String),
    Array(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

/// A value and the place of its key.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

impl Node {
    /// Gives `problem` the place of its key, or of the nearest table above it.
    pub(super) fn locate(&self, problem: Problem) -> Problem {
        let mut node = self;
        for name in problem.key.split('.') {
            match &node.value {
                Value::Table(table) if table.contains_key(name) => node = &table[name],
                _ => break,
            }
        }
        Problem { origin: node.origin.clone(), ..problem }
    }
}

/// The file's tree with the variables laid over it.
pub(super) fn read(source: Option<(&str, &str)>, env: &Environment) -> Result<Node, ConfigError> {
    let mut root = match source {
        None => Node { origin: Origin::Nowhere, value: Value::Table(BTreeMap::new()) },
        Some((name, text)) => parse(name, text)?,
    };
    for (name, text) in env {
        if let Some(path) = name.strip_prefix("STEADFAST_").filter(|_| !NOT_CONFIGURATION.contains(&&**name))
        {
            overlay(&mut root, name, path, text)?;
        }
    }
    Ok(root)
}

fn parse(name: &str, text: &str) -> Result<Node, Box<Problem>> {
    let name: Arc<str> = name.into();
    let at = |offset: usize| Origin::File {
        name: name.clone(),
        line: 1 + text[..offset.min(text.len())].matches('\n').count(),
    };
    let table = DeTable::parse(text).map_err(|error| {
        // Only the parser's own words: its full text quotes the line, which may hold a secret.
        let message = format!("not TOML: {}", error.message());
        Problem::at(at(error.span().map_or(0, |span| span.start)), message)
    })?;
    let value = entries(table.into_inner(), &at)?;
    Ok(Node { origin: at(0), value })
}

fn entries(table: DeTable<'_>, at: &dyn Fn(usize) -> Origin) -> Result<Value, Box<Problem>> {
    let node = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
        let origin = at(key.span().start);
        let key = std::borrow::Cow::<str>::into_owned(key.into_inner());
        match convert(value, at) {
            Ok(value) => Ok((key, Node { origin, value })),
            Err(mut problem) => {
                problem.key = join(&key, &problem.key);
                Err(problem)
            }
        }
    };
    table.into_iter().map(node).collect::<Result<_, _>>().map(Value::Table)
}

fn convert(value: Spanned<DeValue<'_>>, at: &dyn Fn(usize) -> Origin) -> Result<Value, Box<Problem>> {
    let origin = at(value.span().start);
    let refuse = |text: &str, message: &str| {
        let mut problem = Problem::at(origin.clone(), message);
        problem.value = Some(text.into());
        Err(problem)
    };
    Ok(match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(truth) => Value::Bool(truth),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => return refuse(number.as_str(), "a whole number has at most 63 bits"),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Value::Float(number),
            Err(_) => return refuse(number.as_str(), "not a number"),
        },
        DeValue::Datetime(time) => return refuse(&time.to_string(), "put times in quotes"),
        DeValue::Array(items) => {
            let node = |item: Spanned<_>| {
                Ok::<_, Box<Problem>>(Node { origin: at(item.span().start), value: convert(item, at)? })
            };
            Value::Array(items.into_iter().map(node).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => entries(table, at)?,
    })
}

fn overlay(root: &mut Node, name: &str, path: &str, text: &str) -> Result<(), Box<Problem>> {
    let origin = Origin::Variable(name.into());
    let mut node = root;
    let mut walked = String::new();
    for part in path.split("__") {
        let key = part.to_lowercase();
        if key.is_empty() {
            let message = "a variable is named STEADFAST_SECTION__KEY, with two underscores between names";
            return Err(Problem::at(origin, message));
        }
        let Value::Table(table) = &mut node.value else {
            let message = format!("{} already gives `{walked}` a value that is no table", node.origin);
            let mut problem = Problem::at(origin, message);
            problem.key = walked;
            return Err(problem);
        };
        // A variable's name cannot spell `-` or capitals, so it finds keys that do.
        let same = |known: &&String| known.to_lowercase().replace('-', "_") == key;
        let key = table.keys().find(same).cloned().unwrap_or(key);
        walked = join(&walked, &key);
        let empty = || Node { origin: origin.clone(), value: Value::Table(BTreeMap::new()) };
        node = table.entry(key).or_insert_with(empty);
    }
    let value = if text.trim_start().starts_with(['[', '{']) {
        let parsed = DeValue::parse(text).ok().and_then(|value| convert(value, &|_| origin.clone()).ok());
        parsed.unwrap_or_else(|| Value::Raw(text.into()))
    } else {
        Value::Raw(text.into())
    };
    *node = Node { origin, value };
    Ok(())
}
