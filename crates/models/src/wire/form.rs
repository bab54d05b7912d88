//! Forms (`multipart/form-data`): where the parts of one stand, and what they are called.
//!
//! A recording travels in a form. The form passes as it came; only the model's name in it is
//! changed.

use std::ops::Range;

use memchr::memmem;

/// The most parts of a form.
const PARTS_MAX: usize = 64;
/// The longest head of a part.
const HEAD_MAX: usize = 4 << 10;

/// One part.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) name: &'a str,
    /// Where what it holds stands.
    pub(crate) at: Range<usize>,
}

/// What separates the parts, from the header that says so.
pub(crate) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|it| {
        let (name, value) = it.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"'))
    })?;
    (1..=70).contains(&boundary.len()).then_some(boundary)
}

/// The parts of `body`, or nothing if it is no whole form.
pub(crate) fn parts<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<Part<'a>>> {
    let line = format!("\r\n--{boundary}");
    let between = memmem::Finder::new(&line);
    // What may stand before the first boundary says nothing.
    let mut at = if body.starts_with(&line.as_bytes()[2..]) {
        line.len() - 2
    } else {
        between.find(body)? + line.len()
    };
    let mut parts = Vec::new();
    loop {
        let rest = body.get(at..)?;
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        let begin = memchr::memchr(b'\n', rest)? + 1;
        if !rest[..begin].iter().all(u8::is_ascii_whitespace) || parts.len() == PARTS_MAX {
            return None;
        }
        let head = &rest[begin..];
        let head_end = memmem::find(&head[..head.len().min(HEAD_MAX)], b"\r\n\r\n")?;
        let name = std::str::from_utf8(&head[..head_end]).ok().and_then(name)?;
        let start = at + begin + head_end + 4;
        let length = between.find(body.get(start..)?)?;
        parts.push(Part { name, at: start..start + length });
        at = start + length + line.len();
    }
}

/// The name in a part's head.
fn name(head: &str) -> Option<&str> {
    let line = head.split("\r\n").find(|line| {
        line.split_once(':').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
    })?;
    line.split(';').find_map(|it| {
        let (name, value) = it.trim().split_once('=')?;
        name.eq_ignore_ascii_case("name").then(|| value.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_found_by_name() {
        let body = b"preamble\r\n--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm-1\r\n--x  \r\n\
            content-disposition: form-data; filename=\"a;b.mp3\"; name=file\r\nContent-Type: audio/mpeg\r\n\r\n\0--x\r\n\xFF\r\n--x--\r\n";
        let parts = parts(body, "x").expect("a form");
        let all: Vec<_> = parts.iter().map(|it| (it.name, &body[it.at.clone()])).collect();
        assert_eq!(all, [("model", &b"m-1"[..]), ("file", &b"\0--x\r\n\xFF"[..])]);
        assert_eq!(super::parts(&body[..body.len() - 6], "x"), None, "cut off");
        assert_eq!(super::parts(body, "y"), None);
    }

    #[test]
    fn the_boundary_is_in_the_header() {
        assert_eq!(boundary("multipart/form-data; charset=utf-8; boundary=\"a b\""), Some("a b"));
        assert_eq!(boundary("Multipart/Form-Data;BOUNDARY=x"), Some("x"));
        assert_eq!(boundary("application/json"), None);
        assert_eq!(boundary("multipart/form-data; boundary="), None);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(body in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'x'), any::<u8>()], 0..80)) {
            for part in parts(&body, "x").unwrap_or_default() {
                prop_assert!(body.get(part.at).is_some());
            }
        }
    }
}
