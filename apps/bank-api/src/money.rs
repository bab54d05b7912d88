use serde::Deserialize;
use steadfast_core::{Currency, Money, money::Minor};
use steadfast_server::Problem;

/// Money as it is written in requests: minor units, and never a fraction.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Amount {
    minor: Minor,
    currency: String,
}

impl Amount {
    /// The amount, above zero; a complaint says which part of the field `name` is wrong.
    pub(crate) fn read(&self, name: &str) -> Result<Money, Problem> {
        let currency: Currency =
            self.currency.parse().map_err(|error| Problem::bad_field(format!("{name}.currency"), &error))?;
        Money::new(self.minor.0, currency)
            .and_then(Money::positive)
            .map_err(|error| Problem::bad_field(format!("{name}.minor"), &error))
    }
}
