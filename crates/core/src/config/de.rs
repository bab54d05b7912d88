//! Reads a tree into a struct, tying each complaint to the place of its value.

use std::{cell::RefCell, collections::btree_map, fmt, slice};

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, EnumAccess, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, VariantAccess, Visitor, value::StrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{
    Problem,
    problem::{join, nearest, quoted},
    tree::{Node, Value},
    values::{SECRET, SECRET_RULE},
};

/// A problem on its way up; it gets its place from the innermost value it passes.
#[derive(Debug)]
pub(super) struct Failed(pub(super) Box<Problem>, bool);

impl Failed {
    fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Problem::about("", message)), false)
    }
    fn at(mut self, node: &Node, path: &str) -> Self {
        if !std::mem::replace(&mut self.1, true) {
            self.0.key = join(path, &self.0.key);
            self.0.origin = node.origin.clone();
            self.0.value = match &node.value {
                Value::Text(text) | Value::Raw(text) => Some(quoted(text)),
                Value::Integer(number) => Some(number.to_string()),
                Value::Float(number) => Some(number.to_string()),
                Value::Bool(truth) => Some(truth.to_string()),
                Value::Array(_) | Value::Table(_) => None,
            };
        }
        self
    }
    /// The same where the value may be a misplaced secret.
    fn at_unseen(self, node: &Node, path: &str) -> Self {
        let mut failed = self.at(node, path);
        failed.0.value = None;
        failed
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failed {}

impl de::Error for Failed {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
            Unexpected::Float(_) => "a number with a fraction",
            Unexpected::Str(_) | Unexpected::Char(_) => "text",
            Unexpected::Seq => "an array",
            Unexpected::Map => "a table",
            _ => "something else",
        };
        Self::new(format!("expected {}, found {found}", told(expected)))
    }
    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}", told(expected)))
    }
    fn missing_field(field: &'static str) -> Self {
        let mut failed = Self::new("this key is required");
        failed.0.key = field.into();
        failed
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let mut failed = Self::new(unknown_key(expected));
        failed.0.key = field.into();
        failed.0.suggestion = nearest(field, expected.iter().copied()).map(str::to_owned);
        failed
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let mut failed = Self::new(format!("expected one of {}", expected.join(", ")));
        failed.0.suggestion = nearest(variant, expected.iter().copied()).map(str::to_owned);
        failed
    }
}

/// In words of people rather than in Rust's.
fn told(expected: &dyn Expected) -> String {
    match expected.to_string() {
        nonzero if nonzero.starts_with("a nonzero u") => "a whole number of at least 1".into(),
        number if matches!(&*number, "u8" | "u16" | "u32" | "u64" | "usize") => "a whole number".into(),
        other => other,
    }
}

fn unknown_key(known: &[&str]) -> String {
    format!("unknown key; known here: {}", known.join(", "))
}

/// A node, its dotted path, and where unknown keys are noted.
pub(super) struct De<'a> {
    node: &'a Node,
    path: String,
    unknown: &'a RefCell<Vec<Problem>>,
}

impl<'a> De<'a> {
    pub(super) fn new(root: &'a Node, unknown: &'a RefCell<Vec<Problem>>) -> Self {
        Self { node: root, path: String::new(), unknown }
    }
    fn child(&self, node: &'a Node, key: &str) -> Self {
        Self { node, path: join(&self.path, key), unknown: self.unknown }
    }
    /// Also places what is refused only after the bare value was read.
    fn read_with<'de, S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Failed> {
        let (node, path) = (self.node, self.path.clone());
        seed.deserialize(self).map_err(|failed| failed.at(node, &path))
    }
    fn note_unknown(&self, key: &str, node: &Node, known: &[&str]) {
        self.unknown.borrow_mut().push(Problem {
            code: "config.unknown_key",
            origin: node.origin.clone(),
            suggestion: nearest(key, known.iter().copied()).map(str::to_owned),
            ..Problem::about(join(&self.path, key), unknown_key(known))
        });
    }
    fn visit<'de, V: Visitor<'de>>(&self, visitor: V, text: bool) -> Result<V::Value, Failed> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Raw(raw) if text => visitor.visit_str(raw),
            Value::Raw(raw) => match (raw.parse(), raw.parse(), raw.parse()) {
                (Ok(truth), _, _) => visitor.visit_bool(truth),
                (_, Ok(number), _) => visitor.visit_i64(number),
                (_, _, Ok(number)) => visitor.visit_f64(number),
                _ => visitor.visit_str(raw),
            },
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Bool(truth) => visitor.visit_bool(*truth),
            Value::Array(items) => visitor.visit_seq(Items { of: self, rest: items.iter().enumerate() }),
            Value::Table(table) => {
                visitor.visit_map(Entries { of: self, rest: table.iter(), value: None, known: None })
            }
        }
        .map_err(|failed| failed.at(self.node, &self.path))
    }
}

impl<'de> Deserializer<'de> for De<'_> {
    type Error = Failed;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.visit(visitor, false)
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.visit(visitor, true)
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.visit(visitor, true)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_some(self)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        let Value::Table(table) = &self.node.value else {
            let expected = match name {
                SECRET => SECRET_RULE.to_owned(),
                _ => format!("expected a table with {}", fields.join(", ")),
            };
            return Err(Failed::new(expected).at_unseen(self.node, &self.path));
        };
        visitor
            .visit_map(Entries { of: &self, rest: table.iter(), value: None, known: Some(fields) })
            .map_err(|failed| failed.at(self.node, &self.path))
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        match &self.node.value {
            Value::Text(text) | Value::Raw(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Table(table) if table.len() == 1 => visitor.visit_enum(Variant(&self, table)),
            _ => Err(Failed::new(format!("expected one of {}", variants.join(", ")))),
        }
        .map_err(|failed| failed.at(self.node, &self.path))
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    of: &'a De<'a>,
    rest: std::iter::Enumerate<slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Failed;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failed> {
        let next = self.rest.next();
        next.map(|(i, node)| self.of.child(node, &i.to_string()).read_with(seed)).transpose()
    }
}

struct Entries<'a> {
    of: &'a De<'a>,
    rest: btree_map::Iter<'a, String, Node>,
    value: Option<De<'a>>,
    /// A struct's fields; every key is welcome in a map.
    known: Option<&'static [&'static str]>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Failed;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failed> {
        for (key, node) in self.rest.by_ref() {
            match self.known {
                Some(known) if !known.contains(&key.as_str()) => {
                    self.of.note_unknown(key, node, known);
                }
                _ => {
                    self.value = Some(self.of.child(node, key));
                    let key: StrDeserializer<'_, Failed> = key.as_str().into_deserializer();
                    let read = seed.deserialize(key).map(Some);
                    return read.map_err(|failed| {
                        let mut failed = failed.at_unseen(node, &self.of.path);
                        failed.0.origin = node.origin.clone();
                        failed
                    });
                }
            }
        }
        Ok(None)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failed> {
        let value = self.value.take().ok_or_else(|| Failed::custom("a value was read before its key"))?;
        value.read_with(seed)
    }
}

/// `{ name = value }` as the variant `name` of an enum.
struct Variant<'a>(&'a De<'a>, &'a std::collections::BTreeMap<String, Node>);

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Failed;
    type Variant = De<'a>;
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, De<'a>), Failed> {
        let (name, node) = self.1.iter().next().ok_or_else(|| Failed::custom("an empty table"))?;
        let key: StrDeserializer<'_, Failed> = name.as_str().into_deserializer();
        Ok((seed.deserialize(key)?, self.0.child(node, name)))
    }
}

impl<'de> VariantAccess<'de> for De<'_> {
    type Error = Failed;
    fn unit_variant(self) -> Result<(), Failed> {
        Err(Failed::new("takes no value: write it as text").at_unseen(self.node, &self.path))
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Failed> {
        seed.deserialize(self)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failed> {
        self.deserialize_any(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.deserialize_struct("", fields, visitor)
    }
}
