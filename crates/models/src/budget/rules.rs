//! Which limits hold for a call.

use std::sync::Arc;

use steadfast_core::Time;

use super::{
    ledger::{AccountId, Claim},
    window::days_of,
};
use crate::{
    call::Call,
    config::{BudgetConfig, LimitConfig, Per},
    usd::Usd,
};

/// One limit of the configuration.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its name with all that decides what counts: whoever changes that gets fresh accounts.
    pub(crate) id: Arc<str>,
    name: Arc<str>,
    config: LimitConfig,
    all: Arc<str>,
}

/// What limits look at.
pub(crate) struct About<'a> {
    pub(crate) call: &'a Call,
    pub(crate) route: &'a Arc<str>,
    pub(crate) now: Time,
}

fn lists<'a>(list: &[String], value: impl Into<Option<&'a str>>) -> bool {
    list.is_empty() || value.into().is_some_and(|value| list.iter().any(|it| it == value))
}

/// All limits of the configuration.
pub(crate) fn rules(config: &BudgetConfig) -> Arc<[Rule]> {
    if !config.enabled {
        return Arc::new([]);
    }
    config.limits.iter().map(|(name, limit)| Rule::new(name, limit.clone())).collect()
}

/// Is this the id of a limit that holds now? Limits of keys, which are in no configuration, do as
/// long as the key can be used.
pub(crate) fn in_force(rules: &[Rule], id: &str) -> bool {
    let of_key = || id.starts_with("key Key ") && id.contains(" false [] [] [\"") && id.ends_with("\"] []");
    rules.iter().any(|rule| *rule.id == *id) || of_key()
}

impl Rule {
    pub(crate) fn new(name: &str, config: LimitConfig) -> Self {
        let LimitConfig { limit: _, window, per, named, tenants, users, keys, routes } = &config;
        let id = format!("{name} {per:?} {window:?} {named} {tenants:?} {users:?} {keys:?} {routes:?}");
        Self { id: id.into(), name: name.into(), config, all: "all".into() }
    }
    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
    /// The account that the call uses, if this limit holds for it.
    pub(crate) fn claim(&self, about: &About<'_>) -> Option<Claim> {
        let LimitConfig { limit, window, per, named, tenants, users, keys, routes } = &self.config;
        let caller = &about.call.caller;
        let holds = (!named || about.call.options.budget.as_deref() == Some(&*self.name))
            && lists(tenants, caller.tenant.as_str())
            && lists(users, caller.user.as_deref())
            && lists(keys, caller.key.as_deref())
            && lists(routes, &**about.route);
        if !holds {
            return None;
        }
        let value = match per {
            Per::All => self.all.clone(),
            Per::Tenant => caller.tenant.as_str().into(),
            Per::User => caller.within(caller.user.as_deref()),
            Per::Key => caller.within(caller.key.as_deref()),
            Per::Route => about.route.clone(),
            Per::Run => caller.within(Some(about.call.options.run.as_deref()?)),
        };
        Some(self.claim_of(value, *limit, about.now, *window))
    }
    fn claim_of(&self, value: Arc<str>, limit: Usd, now: Time, window: crate::config::Window) -> Claim {
        let account = AccountId { rule: self.id.clone(), value, window: window.at(now) };
        Claim { account, name: self.name.clone(), limit, window }
    }
    /// How to sum up from days, or from calls, what an account has spent: the query, whose
    /// first value is the account's, and its other values.
    pub(crate) fn recount(&self, id: &AccountId) -> (String, Vec<String>) {
        let LimitConfig { window, per, named, tenants, users, keys, routes, limit: _ } = &self.config;
        let (first, last) = days_of(*window, id.window);
        let within = |column| {
            format!(
                "tenant = substr(?1, 1, instr(?1, '/') - 1) AND {column} = substr(?1, instr(?1, '/') + 1)"
            )
        };
        let whose = match per {
            Per::All => "?1 = 'all'".into(),
            Per::Tenant => "tenant = ?1".into(),
            Per::User => within("user"),
            Per::Key => within("key"),
            Per::Route => "route = ?1".into(),
            Per::Run => within("run"),
        };
        let (table, days) = match per {
            Per::Run => ("calls", format!("begun / 86400000000 BETWEEN {first} AND {last} AND run <> ''")),
            _ => ("days", format!("day BETWEEN {first} AND {last}")),
        };
        let cost = sum("cost");
        let mut sql = format!("SELECT {cost} FROM {table} WHERE {days} AND {whose}");
        let mut values = Vec::new();
        let name = [self.name.to_string()];
        let named: &[String] = if *named { &name } else { &[] };
        for (column, list) in
            [("budget", named), ("tenant", tenants), ("user", users), ("key", keys), ("route", routes)]
        {
            if list.is_empty() {
                continue;
            }
            let marks: Vec<_> = (0..list.len()).map(|i| format!("?{}", values.len() + i + 2)).collect();
            sql += &[" AND ", column, " IN (", &marks.join(", "), ")"].concat();
            values.extend(list.iter().cloned());
        }
        (sql, values)
    }
}

/// The sum of a column, at most what a whole number can be: SQLite's own fails beyond that.
pub(crate) fn sum(column: &str) -> String {
    const PART: u64 = 1_000_000_000;
    let parts = format!("coalesce(sum({column} / {PART}) * {PART} + sum({column} % {PART}), 0)");
    format!("min({}, {parts})", i64::MAX)
}
