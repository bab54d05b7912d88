//! What accounts, products and what happens to them are called.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use steadfast_core::{
    Currency, TenantId, id_type,
    principal::{InvalidName, check_name},
};
use steadfast_log::StreamId;

/// The category of account streams.
pub const ACCOUNT: &str = "account";
/// The category of product streams.
pub const PRODUCT: &str = "product";
/// The category of purchase streams.
pub const PURCHASE: &str = "purchase";
/// The category of customer streams.
pub const CUSTOMER: &str = "customer";
/// The category of the marks that forestall effects which came too late.
pub const EFFECT: &str = "effect";

/// Who owns the accounts that money enters and leaves the books by.
pub const SYSTEM: &str = "system";

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $category:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
            /// Where its facts are.
            pub fn stream(&self, tenant: &TenantId) -> StreamId {
                StreamId::new(tenant, $category, self)
            }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                check_name($what, text)?;
                Ok(Self(text.into()))
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().into()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// An account, readable: `ana-checking`.
    AccountId,
    "account",
    ACCOUNT
);
name_type!(
    /// A product: `cafe-de-olla`.
    ProductId,
    "product",
    PRODUCT
);

impl AccountId {
    /// The account of `user` that is called `name`.
    pub fn of(user: &str, name: &str) -> Result<Self, InvalidName> {
        check_name("user", user)?;
        check_name("account name", name)?;
        format!("{user}-{name}").parse()
    }
    /// Where money of a currency comes from when an account is opened with a balance or
    /// fed from outside. It may go below zero, so that the books sum to zero.
    pub fn equity(currency: Currency) -> Self {
        Self(format!("{SYSTEM}-equity-{}", currency.code().to_ascii_lowercase()).into())
    }
}

id_type!(
    /// One movement of money.
    TransferId
);
id_type!(
    /// Money set aside on an account.
    HoldId
);
id_type!(
    /// Stock set aside of a product.
    ReservationId
);
id_type!(
    /// One purchase in the marketplace.
    PurchaseId
);

impl PurchaseId {
    /// Where its facts are.
    pub fn stream(&self, tenant: &TenantId) -> StreamId {
        StreamId::new(tenant, PURCHASE, self)
    }
}
