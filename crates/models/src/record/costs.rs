//! What was spent in a month, and by whom.

use std::{collections::BTreeMap, fmt, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};
use steadfast_core::TenantId;

use super::{RecordError, file, row::Sums};
use crate::{
    budget::{rules::sum, window::days_of_month},
    usd::Usd,
};

/// What costs are asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The virtual key.
    Key,
    /// The user.
    User,
    /// The tenant.
    Tenant,
    /// The route.
    Route,
    /// Who answered.
    Provider,
    /// The model that answered.
    Model,
    /// The budget that was named.
    Budget,
    /// A label: `team` and `workflow` are some.
    Label(String),
}

impl FromStr for By {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "key" => Self::Key,
            "user" => Self::User,
            "tenant" => Self::Tenant,
            "route" => Self::Route,
            "provider" => Self::Provider,
            "model" => Self::Model,
            "budget" => Self::Budget,
            "team" | "workflow" => Self::Label(text.into()),
            _ => match text.strip_prefix("label:") {
                Some(name) if !name.is_empty() => Self::Label(name.into()),
                _ => {
                    return Err(
                        "expected team, key, user, tenant, workflow, model, route, provider, budget or label:NAME",
                    );
                }
            },
        })
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::User => "user",
            Self::Tenant => "tenant",
            Self::Route => "route",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Budget => "budget",
            Self::Label(name) => return write!(f, "label:{name}"),
        })
    }
}

/// What one of them has spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Who or what; empty where calls did not say.
    pub name: String,
    /// What a virtual key is called, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// Calls.
    pub calls: u64,
    /// Calls of models without a known price, which are not in the cost.
    pub unpriced: u64,
    /// Tokens in.
    #[serde(rename = "input_tokens")]
    pub input: u64,
    /// Of these, from a provider's cache.
    #[serde(rename = "cached_tokens")]
    pub cached: u64,
    /// Tokens out.
    #[serde(rename = "output_tokens")]
    pub output: u64,
    /// What they cost.
    #[serde(rename = "cost_usd")]
    pub cost: Usd,
}

/// The costs of a month such as `2026-11`, the dearest first, of one tenant or of all. `None` if
/// it is no month.
pub fn costs(
    path: &Path,
    month: &str,
    by: &By,
    tenant: Option<&TenantId>,
) -> Result<Option<Vec<Cost>>, RecordError> {
    let Some((first, last)) = days_of_month(month) else { return Ok(None) };
    let connection = file::read(path)?;
    let tenant = tenant.map(TenantId::as_str);
    let column = match by {
        By::Key => "key",
        By::User => "user",
        By::Tenant => "tenant",
        By::Route => "route",
        By::Provider => "provider",
        By::Model => "model",
        By::Budget => "budget",
        By::Label(_) => "labels",
    };
    let sql = format!(
        "SELECT {column}, {} FROM days WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR tenant = ?3) GROUP BY 1",
        ["calls", "unpriced", "input", "cached", "output", "cost"].map(sum).join(", ")
    );
    let sqlite = RecordError::sqlite(path);
    let mut statement = connection.prepare(&sql).map_err(&sqlite)?;
    let read = |row: &rusqlite::Row<'_>| {
        let int = |at| row.get::<_, i64>(at).map(file::uint);
        let cost = Usd::from_nanos(int(6)?);
        let sums = Sums {
            calls: int(1)?,
            unpriced: int(2)?,
            input: int(3)?,
            cached: int(4)?,
            output: int(5)?,
            cost,
        };
        Ok((row.get::<_, String>(0)?, sums))
    };
    let mut all = BTreeMap::<String, Sums>::new();
    for row in statement.query_map(rusqlite::params![first, last, tenant], read).map_err(&sqlite)? {
        let (name, more) = row.map_err(&sqlite)?;
        let name = match by {
            By::Label(label) => value_of(&name, label).into(),
            _ => name,
        };
        let sums = all.entry(name).or_default();
        sums.calls += more.calls;
        sums.unpriced += more.unpriced;
        sums.input = sums.input.saturating_add(more.input);
        sums.cached = sums.cached.saturating_add(more.cached);
        sums.output = sums.output.saturating_add(more.output);
        sums.cost = sums.cost.plus(more.cost);
    }
    let mut costs: Vec<_> = all
        .into_iter()
        .map(|(name, it)| Cost {
            name,
            key_name: None,
            calls: it.calls,
            unpriced: it.unpriced,
            input: it.input,
            cached: it.cached,
            output: it.output,
            cost: it.cost,
        })
        .collect();
    costs.sort_by(|a, b| b.cost.cmp(&a.cost).then_with(|| a.name.cmp(&b.name)));
    Ok(Some(costs))
}

/// The value of a label among `a=b,c=d`.
fn value_of<'a>(labels: &'a str, name: &str) -> &'a str {
    let mut all = labels.split(',').filter_map(|label| label.split_once('='));
    all.find(|(label, _)| *label == name).map_or("", |(_, value)| value)
}
