use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use steadfast_core::{TenantId, principal::check_name};

/// The name of the facts of one thing: `tenant/category/name`. Cheap to clone.
///
/// The category decides how long its events are kept; the name is the thing's id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamId {
    text: Arc<str>,
    category_at: u16,
    name_at: u16,
}

/// The longest name of a stream within its category, in bytes.
const NAME_MAX: usize = 160;

impl StreamId {
    /// `category` comes from code; `name` is an id or a checked name.
    ///
    /// # Panics
    /// If `category` breaks the rule for names: that is a mistake in the code.
    pub fn new(tenant: &TenantId, category: &'static str, name: impl fmt::Display) -> Self {
        let text = format!("{tenant}/{category}/{name}");
        let category_at = tenant.as_str().len() + 1;
        Self {
            text: text.into(),
            category_at: u16::try_from(category_at).unwrap_or(u16::MAX),
            name_at: u16::try_from(category_at + category.len() + 1).unwrap_or(u16::MAX),
        }
    }
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// Whose it is.
    pub fn tenant(&self) -> TenantId {
        // Checked when this id was made.
        self.text[..usize::from(self.category_at) - 1].parse().unwrap_or_default()
    }
    /// What kind of thing it is.
    pub fn category(&self) -> &str {
        &self.text[self.category_at.into()..usize::from(self.name_at) - 1]
    }
    /// Which one.
    pub fn name(&self) -> &str {
        &self.text[self.name_at.into()..]
    }
    /// Why this id cannot be stored, if so. A name made by [`StreamId::new`] from
    /// outside input is checked here, by every store, before anything is written.
    pub fn check(&self) -> Result<(), String> {
        let name = self.name();
        if name.is_empty()
            || name.len() > NAME_MAX
            || name.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            return Err(format!(
                "stream name {:?} must have 1 to {NAME_MAX} bytes and no blanks or control characters",
                name.chars().take(64).collect::<String>()
            ));
        }
        Ok(())
    }
}

impl FromStr for StreamId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = || format!("{text:?} is not a stream: write TENANT/CATEGORY/NAME");
        let mut parts = text.splitn(3, '/');
        let (Some(tenant), Some(category), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(rule());
        };
        check_name("tenant", tenant).map_err(|error| error.to_string())?;
        check_name("category", category).map_err(|error| error.to_string())?;
        let category_at = tenant.len() + 1;
        let stream = Self {
            text: text.into(),
            category_at: u16::try_from(category_at).map_err(|_| rule())?,
            name_at: u16::try_from(category_at + category.len() + 1).map_err(|_| rule())?,
        };
        stream.check()?;
        Ok(stream)
    }
}
impl TryFrom<String> for StreamId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
impl From<StreamId> for String {
    fn from(stream: StreamId) -> Self {
        stream.text.as_ref().into()
    }
}
impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_out_of_the_text() {
        let made = StreamId::new(&TenantId::default(), "account", "ana/checking");
        let read: StreamId = "default/account/ana/checking".parse().expect("a stream");
        assert_eq!(made, read);
        assert_eq!((read.category(), read.name()), ("account", "ana/checking"));
        assert_eq!(read.tenant(), TenantId::default());
        for wrong in ["", "a", "a/b", "a/b/", "a//c", "/b/c", "a/b/c d", "a/b/\n"] {
            assert!(wrong.parse::<StreamId>().is_err(), "{wrong:?}");
        }
    }
}
