//! Short texts that stand for something: ids, names, times, sizes, places in lists.

use std::{fmt::Display, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};
use steadfast_bank::{AccountId, ProductId, PurchaseId};
use steadfast_core::{
    CorrelationId, RunId, TenantId, Time,
    config::{Period, Share, Size},
    principal::check_name,
};
use steadfast_engine::{Data, StepId};
use steadfast_log::{PayloadId, Position, StreamId};
use steadfast_server::Origin;

use crate::told;

/// What reads is printed in a form that reads as the same; so is its JSON.
pub(crate) fn name(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    printed::<RunId>(text);
    printed::<CorrelationId>(text);
    printed::<PurchaseId>(text);
    printed::<PayloadId>(text);
    printed::<Period>(text);
    printed::<Size>(text);
    printed::<Time>(text);
    letter_by_letter::<TenantId>(text);
    letter_by_letter::<AccountId>(text);
    letter_by_letter::<ProductId>(text);
    letter_by_letter::<StreamId>(text);
    if let Ok(stream) = text.parse::<StreamId>() {
        let parts = format!("{}/{}/{}", stream.tenant(), stream.category(), stream.name());
        assert_eq!(parts, text);
    }
    if let Err(error) = check_name("user", text) {
        told::text(&error.to_string());
    }
    if let Ok(origin) = Origin::try_from(text.to_owned()) {
        assert_eq!(Origin::try_from(String::from(origin.clone())).as_ref(), Ok(&origin));
    }
    as_json::<Share>(text);
    as_json::<StepId>(text);
    as_json::<Data>(text);
}

fn printed<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: Display> + Display + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned,
{
    match text.parse::<T>() {
        Ok(value) => {
            let again = value.to_string().parse::<T>();
            assert!(again.is_ok_and(|again| again == value), "{value} of {text:?}");
            let json = serde_json::to_string(&value).expect("JSON");
            assert_eq!(serde_json::from_str::<T>(&json).expect("the same"), value, "{json}");
            Some(value)
        }
        Err(error) => {
            told::text(&error.to_string());
            None
        }
    }
}

fn letter_by_letter<T>(text: &str)
where
    T: FromStr<Err: Display> + Display + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned,
{
    if let Some(value) = printed::<T>(text) {
        assert_eq!(value.to_string(), text);
    }
}

fn as_json<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(text: &str) {
    let Ok(value) = serde_json::from_str::<T>(text) else { return };
    let json = serde_json::to_string(&value).expect("JSON");
    assert_eq!(serde_json::from_str::<T>(&json).expect("the same"), value, "{json}");
}

/// A place in the log has one text.
pub(crate) fn cursor(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    letter_by_letter::<Position>(text);
}
