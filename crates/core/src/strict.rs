//! JSON from others, taken at its word: an object is read from an object and from nothing
//! else, however deep it lies.
//!
//! Code that serde derives takes an array for a struct, member by member. That is meant for
//! formats without names; in JSON it would let `[1, "MXN"]` pass for an amount. [`Strict`]
//! goes around any deserialiser and asks for a map wherever a struct is wanted, and what
//! is expected instead is told in the words of JSON, not in those of our types.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor},
};

/// A deserialiser, a visitor or a part of one that is strict at every depth.
#[derive(Debug)]
pub struct Strict<T>(pub T);

/// A `T` that is read strictly.
#[derive(Debug)]
pub struct Strictly<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Strictly<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(Strict(deserializer)).map(Self)
    }
}

/// A visitor, and what it expects if its own words for that are not JSON's.
struct Guide<V> {
    inner: V,
    expects: Option<&'static str>,
}

impl<V> Guide<V> {
    fn new(inner: V) -> Self {
        Self { inner, expects: None }
    }
    fn expecting(inner: V, words: &'static str) -> Self {
        Self { inner, expects: Some(words) }
    }
}

macro_rules! forward {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(Guide::new(visitor))
        })*
    };
}

macro_rules! forward_as {
    ($($words:literal: $($method:ident)*;)*) => {
        $($(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(Guide::expecting(visitor, $words))
        })*)*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    forward! {
        deserialize_any deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_option deserialize_identifier deserialize_ignored_any
    }
    forward_as! {
        "true or false": deserialize_bool;
        "a whole number": deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
            deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
            deserialize_u128;
        "a number": deserialize_f32 deserialize_f64;
        "null": deserialize_unit;
        "an array": deserialize_seq;
        "an object": deserialize_map;
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, Guide::expecting(visitor, "null"))
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Guide::new(visitor))
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, Guide::new(visitor))
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, len, Guide::new(visitor))
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Guide::expecting(visitor, "an object"))
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, Guide::new(visitor))
    }
    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($value:ty))*) => {
        $(fn $method<E: serde::de::Error>(self, value: $value) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Guide<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expects {
            Some(words) => f.write_str(words),
            None => self.inner.expecting(f),
        }
    }
    visit! {
        visit_bool(bool) visit_i64(i64) visit_i128(i128) visit_u64(u64) visit_u128(u128)
        visit_f64(f64) visit_char(char) visit_str(&str) visit_borrowed_str(&'de str)
        visit_string(String) visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8])
        visit_byte_buf(Vec<u8>)
    }
    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Strict(deserializer))
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Strict(deserializer))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Strict(seq))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Strict(map))
    }
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Strict(data))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.0.next_key_seed(Strict(seed))
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Strict<A> {
    type Error = A::Error;
    type Variant = Strict<A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self::Variant), A::Error> {
        let (value, variant) = self.0.variant_seed(Strict(seed))?;
        Ok((value, Strict(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.0.newtype_variant_seed(Strict(seed))
    }
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Guide::new(visitor))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        // The format decides here whether an array will do; what it then hands over is
        // refused by the visitor.
        self.0.struct_variant(fields, ObjectOnly(Guide::expecting(visitor, "an object")))
    }
}

/// A visitor that takes an object and nothing else.
struct ObjectOnly<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for ObjectOnly<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(map)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Leaf {
        n: u32,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Either {
        Plain,
        Leaf(Leaf),
        Named { n: u32 },
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tree {
        leaf: Leaf,
        #[serde(default)]
        maybe: Option<Leaf>,
        #[serde(default)]
        list: Vec<Leaf>,
        #[serde(default)]
        map: BTreeMap<String, Leaf>,
        #[serde(default)]
        either: Option<Either>,
        #[serde(default)]
        pair: Option<(u32, String)>,
        #[serde(default)]
        raw: Option<Box<RawValue>>,
    }

    fn read(text: &str) -> Result<Tree, String> {
        let read = serde_json::from_str::<Strictly<Tree>>(text);
        read.map(|it| it.0).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_with_names_is_read_as_ever() {
        let text = r#"{"leaf":{"n":1},"maybe":{"n":2},"list":[{"n":3}],"map":{"a":{"n":4}},
            "either":{"named":{"n":5}},"pair":[6,"x"],"raw":[7, 8]}"#;
        let tree = read(text).expect("reads");
        assert_eq!((tree.leaf, tree.maybe), (Leaf { n: 1 }, Some(Leaf { n: 2 })));
        assert_eq!((tree.list, tree.map["a"].n), (vec![Leaf { n: 3 }], 4));
        assert_eq!((tree.either, tree.pair), (Some(Either::Named { n: 5 }), Some((6, "x".into()))));
        assert_eq!(tree.raw.expect("kept").get(), "[7, 8]");
        let either = |text: &str| read(&format!(r#"{{"leaf":{{"n":1}},"either":{text}}}"#));
        assert_eq!(either(r#""plain""#).expect("reads").either, Some(Either::Plain));
        assert_eq!(either(r#"{"leaf":{"n":5}}"#).expect("reads").either, Some(Either::Leaf(Leaf { n: 5 })));
    }

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        for text in [
            r#"[{"n":1}]"#,
            r#"{"leaf":[1]}"#,
            r#"{"leaf":{"n":1},"maybe":[2]}"#,
            r#"{"leaf":{"n":1},"list":[[3]]}"#,
            r#"{"leaf":{"n":1},"map":{"a":[4]}}"#,
            r#"{"leaf":{"n":1},"either":{"named":[5]}}"#,
            r#"{"leaf":{"n":1},"either":{"leaf":[5]}}"#,
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains("expected an object"), "{text}: {error}");
        }
    }

    #[test]
    fn what_was_expected_is_said_in_the_words_of_json() {
        for (text, words) in [
            (r#"{"leaf":{"n":"1"}}"#, "expected a whole number"),
            (r#"{"leaf":{"n":1},"list":1}"#, "expected an array"),
            (r#"{"leaf":{"n":1},"map":1}"#, "expected an object"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
