use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{Edge, NodeKey, Problem};

const TAG: usize = 16;

impl Edge {
    /// See [`NodeKey::seal`].
    pub fn seal(&self, list: &str, place: &str) -> String {
        self.key().seal(list, place)
    }
    /// See [`NodeKey::unseal`].
    pub fn unseal(&self, list: &str, cursor: &str) -> Result<String, Problem> {
        self.key().unseal(list, cursor)
    }
}

impl NodeKey {
    /// Where a page of a list ended, as the caller is given it: only [`NodeKey::unseal`]
    /// for the same list reads it, and nobody else can make one.
    pub fn seal(&self, list: &str, place: &str) -> String {
        let tag = hmac::sign(self.cursors(), &signed(list, place.as_bytes()));
        URL_SAFE_NO_PAD.encode([&tag.as_ref()[..TAG], place.as_bytes()].concat())
    }

    /// What was sealed for the list; a cursor of another list, or a made-up one, is refused.
    pub fn unseal(&self, list: &str, cursor: &str) -> Result<String, Problem> {
        let open = || {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
            let (tag, place) = bytes.split_at_checked(TAG)?;
            let right = hmac::sign(self.cursors(), &signed(list, place));
            aws_lc_rs::constant_time::verify_slices_are_equal(&right.as_ref()[..TAG], tag).ok()?;
            String::from_utf8(place.to_vec()).ok()
        };
        open().ok_or_else(|| invalid(cursor))
    }
}

/// The list's name has no NUL, so that no two pairs are signed alike.
fn signed(list: &str, place: &[u8]) -> Vec<u8> {
    [list.as_bytes(), b"\0", place].concat()
}

pub(crate) fn invalid(cursor: &str) -> Problem {
    let shown: String = cursor.chars().take(64).collect();
    let message = format!("cursor = {shown:?}: expected the `next` of an earlier page of this list");
    Problem::bad_request("cursor.invalid", message).with_field("cursor")
}
