//! JSON in the one form that RFC 8785 gives it, written while it is read.
//!
//! Members are written where they come; only an object whose members are out of order is
//! put together again. Two things differ from the RFC, so that nothing is taken for the same
//! that is not: whole numbers beyond 2^53 keep all their digits, and members of the same name
//! are all kept, in their order.

use std::{borrow::Cow, cmp::Ordering, fmt, io::Write as _, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Appends `json` to `out`, without those of its members whose names `left_out` has.
pub(super) fn write(out: &mut Vec<u8>, json: &[u8], left_out: &[&str]) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut writer = Writer { out, members: Vec::new(), sorted: Vec::new() };
    Part { writer: &mut writer, left_out }.deserialize(&mut reader)?;
    reader.end()
}

struct Writer<'o, 'de> {
    out: &'o mut Vec<u8>,
    /// Of all objects that are open: their members' names, and where in `out` they stand.
    members: Vec<(Cow<'de, str>, Range<usize>)>,
    /// Where members are put in order.
    sorted: Vec<u8>,
}

impl Writer<'_, '_> {
    /// The members from `first` on are an object's. They change places if need be.
    fn sort(&mut self, first: usize) {
        if self.members[first..].is_sorted_by(|a, b| in_order(&a.0, &b.0) != Ordering::Greater) {
            return self.members.truncate(first);
        }
        let mut members = self.members.split_off(first);
        let start = members[0].1.start;
        members.sort_by(|a, b| in_order(&a.0, &b.0));
        self.sorted.clear();
        for (i, (_, place)) in members.into_iter().enumerate() {
            if i > 0 {
                self.sorted.push(b',');
            }
            self.sorted.extend_from_slice(&self.out[place]);
        }
        self.out[start..].copy_from_slice(&self.sorted);
    }
}

/// By the code units of UTF-16, as the RFC wants it.
fn in_order(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

/// One value.
struct Part<'w, 'o, 'de> {
    writer: &'w mut Writer<'o, 'de>,
    left_out: &'w [&'w str],
}

impl<'de> DeserializeSeed<'de> for Part<'_, '_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Part<'_, '_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        self.writer.out.extend_from_slice(b"null");
        Ok(())
    }
    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.writer.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        write!(self.writer.out, "{value}").map_err(E::custom)
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        write!(self.writer.out, "{value}").map_err(E::custom)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        serde_jcs::to_writer(&mut *self.writer.out, &value).map_err(E::custom)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        serde_json::to_writer(&mut *self.writer.out, text).map_err(E::custom)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.writer.out.push(b'[');
        let mut first = true;
        loop {
            let before = self.writer.out.len();
            if !first {
                self.writer.out.push(b',');
            }
            first = false;
            let item = Part { writer: &mut *self.writer, left_out: &[] };
            if items.next_element_seed(item)?.is_none() {
                self.writer.out.truncate(before);
                break;
            }
        }
        self.writer.out.push(b']');
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let writer = self.writer;
        let first = writer.members.len();
        writer.out.push(b'{');
        while let Some(Name(name)) = map.next_key()? {
            if self.left_out.contains(&&*name) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if writer.members.len() > first {
                writer.out.push(b',');
            }
            let start = writer.out.len();
            serde_json::to_writer(&mut *writer.out, &name).map_err(A::Error::custom)?;
            writer.out.push(b':');
            map.next_value_seed(Part { writer: &mut *writer, left_out: &[] })?;
            let place = start..writer.out.len();
            writer.members.push((name, place));
        }
        writer.sort(first);
        writer.out.push(b'}');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, text.as_bytes(), &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn order_white_space_and_spelling_of_numbers_do_not_count() {
        for (text, expected) in [
            (r#" { "b" : 1.0 , "a" : [ 1 , 2 ] } "#, r#"{"a":[1,2],"b":1}"#),
            (r#"{"z":{"b":1,"a":{}},"a":[],"é":0}"#, r#"{"a":[],"z":{"a":{},"b":1},"é":0}"#),
            (r#""\u0041\/\n\u001F\"\\""#, r#""A/\n\u001f\"\\""#),
            // The example of RFC 8785, section 3.2.2.
            (
                r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"literals":[null,true,false]}"#,
                r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}"#,
            ),
            // Its order, section 3.2.3: a letter outside the first plane comes before U+FB33.
            (
                r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#,
                "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}",
            ),
            (
                "[-0.0,1e2,100,9007199254740993,-9223372036854775808]",
                "[0,100,100,9007199254740993,-9223372036854775808]",
            ),
        ] {
            assert_eq!(canonical(text), expected);
        }
    }

    #[test]
    fn what_is_not_known_to_be_the_same_is_not() {
        assert_ne!(canonical("9007199254740993"), canonical("9007199254740992"));
        assert_ne!(canonical(r#"{"a":1,"a":2}"#), canonical(r#"{"a":2,"a":1}"#));
        assert_ne!(canonical(r#"{"a":[1,[2]]}"#), canonical(r#"{"a":[[1],2]}"#));
        for broken in ["", "{", "[1,]", "{} {}", r#""\ud800""#, "\"\u{1}\""] {
            assert!(write(&mut Vec::new(), broken.as_bytes(), &[]).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn only_members_at_the_top_are_left_out() {
        let mut out = Vec::new();
        let json = br#"{"user":"x","b":{"user":"y"},"stream":true,"a":1}"#;
        write(&mut out, json, &["user", "stream"]).expect("JSON");
        assert_eq!(out, br#"{"a":1,"b":{"user":"y"}}"#);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-1_000_000_i64..1_000_000).prop_map(Value::from),
            (-1e9..1e9).prop_map(|number: f64| json!(number)),
            "[a-zé\"\\\\\n😀\u{fb33}]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[a-cé😀\u{fb33}]{0,3}", inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_what_the_reference_writes(value in any_json()) {
            let expected = serde_jcs::to_string(&value).expect("JSON");
            prop_assert_eq!(canonical(&value.to_string()), expected.clone());
            prop_assert_eq!(canonical(&serde_json::to_string_pretty(&value).expect("JSON")), expected);
        }
    }
}
