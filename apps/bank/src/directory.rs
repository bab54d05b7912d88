use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;
use steadfast_core::{Currency, Failure, TenantId};
use steadfast_log::{ListQuery, Listing, Log};

use crate::{AccountId, Bank, books::unreadable, decision::account_not_found, names::ACCOUNT};

/// Which account a user is paid into. Remembered once known: accounts are never closed
/// and the first stays the first.
pub(crate) struct Directory {
    log: Arc<dyn Log>,
    known: Mutex<LruCache<(TenantId, String, Currency), AccountId>>,
}

/// Nobody has more accounts than this.
pub(crate) const ACCOUNTS_MAX: usize = 1_000;

impl Directory {
    pub(crate) fn new(log: Arc<dyn Log>, cached: usize) -> Self {
        let cached = NonZeroUsize::new(cached).unwrap_or(NonZeroUsize::MIN);
        Self { log, known: Mutex::new(LruCache::new(cached)) }
    }

    /// The user's oldest account of the currency whose name begins with `checking`.
    pub(crate) async fn default_account(
        &self,
        tenant: &TenantId,
        user: &str,
        currency: Currency,
    ) -> Result<Option<AccountId>, Failure> {
        let key = (tenant.clone(), user.to_owned(), currency);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = known().get(&key) {
            return Ok(Some(account.clone()));
        }
        let rows = self.accounts(tenant, user, Some(currency)).await?;
        let checking =
            |row: &&Listing| row.labels.get("name").is_some_and(|name| name.starts_with("checking"));
        let oldest = rows.iter().rev().find(checking);
        let Some(account) = oldest.and_then(|row| row.stream.name().parse::<AccountId>().ok()) else {
            return Ok(None);
        };
        known().put(key, account.clone());
        Ok(Some(account))
    }

    /// The rows of a user's accounts, newest first.
    pub(crate) async fn accounts(
        &self,
        tenant: &TenantId,
        user: &str,
        currency: Option<Currency>,
    ) -> Result<Vec<Listing>, Failure> {
        let query = ListQuery {
            tenant: tenant.clone(),
            category: ACCOUNT.into(),
            kind: currency.map(|currency| currency.code().into()),
            principal: Some(user.to_owned()),
            limit: ACCOUNTS_MAX,
            ..ListQuery::default()
        };
        let rows = self.log.list(query).await;
        Ok(rows.map_err(|error| unreadable(&error))?.rows)
    }

    pub(crate) async fn is_user(&self, tenant: &TenantId, name: &str) -> Result<bool, Failure> {
        Ok(!self.accounts(tenant, name, None).await?.is_empty())
    }
}

impl Bank {
    /// The account that `to` means: an account's id, or a user's default account.
    pub(crate) async fn payee(
        &self,
        tenant: &TenantId,
        to: &str,
        currency: Currency,
    ) -> Result<AccountId, Failure> {
        let account: AccountId =
            to.parse().map_err(|error| Failure::refused("to.invalid", format!("{error}")))?;
        if self.views.exists(&account.stream(tenant)).await? {
            return Ok(account);
        }
        if let Some(account) = self.directory.default_account(tenant, to, currency).await? {
            return Ok(account);
        }
        if self.directory.is_user(tenant, to).await? {
            return Err(Failure::refused(
                "account.no_default",
                format!("{to} has no checking account in {currency}: name an account of theirs"),
            ));
        }
        let mut failure = account_not_found(&account);
        failure.message = format!("there is no user and no account {to}");
        Err(failure)
    }
}
