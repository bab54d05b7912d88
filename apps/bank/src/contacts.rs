//! Whom a customer knows, by the names that the customer uses.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use steadfast_core::{Failure, Principal, TenantId};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use crate::{
    Bank,
    customer::{Change, Known, State, stream_of},
    events::{ContactAdded, ContactRemoved},
};

/// Somebody a customer knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// What the customer calls them.
    pub name: Arc<str>,
    /// Who that is.
    pub user: Arc<str>,
}

/// Nobody has more contacts than this.
pub const CONTACTS_MAX: usize = 200;
const NAME_MAX: usize = 60;

/// The words of a name as they are compared: neither case nor accents count.
fn words(name: &str) -> Vec<String> {
    let bare = |word: &str| {
        let letters = word.nfkd().filter(|letter| !is_combining_mark(*letter));
        letters.flat_map(char::to_lowercase).collect()
    };
    name.split_whitespace().map(bare).filter(|word: &String| !word.is_empty()).collect()
}

fn checked(name: &str) -> Result<Arc<str>, Failure> {
    let name = name.trim();
    let fits = (1..=NAME_MAX).contains(&name.chars().count());
    if fits && !name.chars().any(char::is_control) && name.chars().any(char::is_alphanumeric) {
        return Ok(name.into());
    }
    let shown: String = name.chars().take(NAME_MAX).collect();
    let message = format!(
        "{shown:?} is no name for a contact: use 1 to {NAME_MAX} characters on one line, a letter or digit among them"
    );
    Err(Failure::refused("contact.invalid_name", message))
}

impl State {
    /// The contact of exactly that name.
    fn named(&self, name: &str) -> Option<&Contact> {
        let wanted = words(name);
        self.contacts.iter().find(|contact| words(&contact.name) == wanted)
    }

    /// The contact of exactly that name, else all whose names begin with these words.
    fn meant(&self, name: &str) -> Vec<Contact> {
        let wanted = words(name);
        if wanted.is_empty() {
            return Vec::new();
        }
        if let Some(contact) = self.named(name) {
            return vec![contact.clone()];
        }
        let begins = |contact: &&Contact| words(&contact.name).starts_with(&wanted);
        self.contacts.iter().filter(begins).cloned().collect()
    }

    fn adding(&self, name: &Arc<str>, user: &str) -> Result<Vec<Change>, Failure> {
        if let Some(there) = self.named(name) {
            if *there.user == *user {
                return Ok(Vec::new());
            }
            let message = format!(
                "{:?} is already the name of {}: use another name, or remove that contact first",
                there.name, there.user
            );
            return Err(Failure::refused("contact.name_taken", message));
        }
        if self.contacts.len() >= CONTACTS_MAX {
            let message =
                format!("you have {CONTACTS_MAX} contacts, the most there can be: remove one first");
            return Err(Failure::refused("contact.too_many", message));
        }
        Ok(vec![Change::Added(ContactAdded { name: name.clone(), user: user.into() })])
    }
}

impl Bank {
    /// Whom the principal knows, in the order they were added.
    pub async fn contacts(&self, principal: &Principal) -> Result<Vec<Contact>, Failure> {
        Ok(self.state_of(principal).await?.contacts.clone())
    }

    /// Whom the principal means: the one contact of that very name, else all whose names
    /// begin with these words, so that a first name is enough where it is clear.
    pub async fn find_contacts(&self, principal: &Principal, name: &str) -> Result<Vec<Contact>, Failure> {
        Ok(self.state_of(principal).await?.meant(name))
    }

    /// Gives a user a name in the principal's contacts. The same again changes nothing.
    pub async fn add_contact(
        &self,
        principal: &Principal,
        name: &str,
        user: &str,
    ) -> Result<Contact, Failure> {
        let name = checked(name)?;
        if user == principal.user {
            let message = "you cannot be your own contact: name somebody else";
            return Err(Failure::refused("contact.self", message));
        }
        self.must_exist(&principal.tenant, user).await?;
        let stream = stream_of(&principal.tenant, &principal.user);
        let decide = |known: &Known| known.state.adding(&name, user);
        let (state, _) = self.customers.change(&stream, decide).await?;
        let there = state.named(&name).cloned();
        Ok(there.unwrap_or_else(|| Contact { name: name.clone(), user: user.into() }))
    }

    /// Forgets the contact of that name; false when there was none.
    pub async fn remove_contact(&self, principal: &Principal, name: &str) -> Result<bool, Failure> {
        let decide = |known: &Known| {
            let removed = |contact: &Contact| Change::Removed(ContactRemoved { name: contact.name.clone() });
            Ok(known.state.named(name).map(removed).into_iter().collect())
        };
        let stream = stream_of(&principal.tenant, &principal.user);
        let (_, removed) = self.customers.change(&stream, decide).await?;
        Ok(removed)
    }

    /// Gives a customer their first contacts; nothing if anything was ever written of them.
    pub(crate) async fn first_contacts(
        &self,
        tenant: &TenantId,
        user: &str,
        contacts: &[Contact],
    ) -> Result<(), Failure> {
        let added = |contact: &Contact| {
            let Contact { name, user } = contact.clone();
            Change::Added(ContactAdded { name, user })
        };
        let decide = |known: &Known| match known.version {
            0 => Ok(contacts.iter().map(added).collect()),
            _ => Ok(Vec::new()),
        };
        self.customers.change(&stream_of(tenant, user), decide).await?;
        Ok(())
    }

    async fn state_of(&self, principal: &Principal) -> Result<Arc<State>, Failure> {
        let stream = stream_of(&principal.tenant, &principal.user);
        Ok(self.customers.newest(&stream).await?.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> State {
        let contact = |name: &&str| Contact { name: (*name).into(), user: name.to_lowercase().into() };
        State { contacts: names.iter().map(contact).collect(), inactive: false }
    }

    fn meant(state: &State, name: &str) -> Vec<String> {
        state.meant(name).iter().map(|contact| contact.name.to_string()).collect()
    }

    #[test]
    fn a_first_name_is_enough_and_the_whole_name_wins_alone() {
        let state = of(&["Luis Pérez", "Luis Gómez", "María", "Mari Paz", "Begoña Ñíguez"]);
        for (asked, wanted) in [
            ("luis", &["Luis Pérez", "Luis Gómez"][..]),
            ("LUIS  perez", &["Luis Pérez"]),
            ("maria", &["María"]),
            ("MARI\u{301}A", &["María"]),
            ("mari", &["Mari Paz"]),
            ("paz", &[]),
            ("Pérez", &[]),
            ("lui", &[]),
            ("begona niguez", &["Begoña Ñíguez"]),
            ("", &[]),
            (" \u{301} ", &[]),
        ] {
            assert_eq!(meant(&state, asked), wanted, "{asked:?}");
        }
        let state = of(&["Luis Pérez", "Luis"]);
        assert_eq!(meant(&state, "luis"), ["Luis"]);
        assert_eq!(meant(&state, "luis pérez"), ["Luis Pérez"]);
    }

    #[test]
    fn names_are_one_line_with_something_to_read_in_it() {
        assert_eq!(checked("  José Luis ").expect("a name"), "José Luis".into());
        assert!(checked(&"ñ".repeat(60)).is_ok());
        for wrong in ["", "   ", "a\nb", "a\u{7}", "\u{301}", "\u{200b}", "—", &"x".repeat(61)] {
            assert_eq!(checked(wrong).expect_err(wrong).code, "contact.invalid_name", "{wrong:?}");
        }
    }
}
