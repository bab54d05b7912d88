use std::{
    cmp::Ordering,
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use steadfast_core::{Failure, Money, Principal, Role, Time};
use steadfast_log::{ListQuery, Log, Recorded, StreamId};

use crate::{
    Account, AccountId, Bank, Fact, Product, ProductId, TransferId,
    account::Limits,
    books::{Books, Entry, State, unreadable},
    decision::{account_not_found, product_not_found},
    names::PRODUCT,
};

/// States for reading: like the decider's, and always the newest that is durable.
pub(crate) struct Views {
    log: Arc<dyn Log>,
    books: Mutex<Books>,
}

impl Views {
    pub(crate) fn new(log: Arc<dyn Log>, cached: usize) -> Self {
        Self { log, books: Mutex::new(Books::new(cached)) }
    }
    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
    async fn state(&self, stream: &StreamId) -> Result<State, Failure> {
        let known = self.books().get(stream).cloned();
        let entry = Entry::load(&*self.log, stream, known).await.map_err(|error| unreadable(&error))?;
        let state = entry.state.clone();
        if entry.version > 0 {
            self.books().put(stream.clone(), entry);
        }
        Ok(state)
    }
    /// Once there, always there: needs no reading the second time.
    pub(crate) async fn exists(&self, stream: &StreamId) -> Result<bool, Failure> {
        if self.books().get(stream).is_some() {
            return Ok(true);
        }
        Ok(self.state(stream).await? != State::Absent)
    }
}

/// An account as its owner sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountView {
    /// Its id.
    pub id: AccountId,
    /// Whose it is.
    pub owner: String,
    /// What the owner calls it.
    pub name: String,
    /// What is on it.
    pub balance: Money,
    /// What of that can be paid now.
    pub available: Money,
    /// What of it is set aside.
    pub held: Money,
    /// Its own limits.
    pub limits: Limits,
}

/// A product as buyers see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProductView {
    /// Its id.
    pub id: ProductId,
    /// What people call it.
    pub name: String,
    /// Of one.
    pub price: Money,
    /// How many can be bought now.
    pub stock: u32,
    /// Who is paid.
    pub merchant: AccountId,
}

/// A movement on an account.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transaction {
    /// The movement; both sides have the same.
    pub id: TransferId,
    /// The account.
    pub account: AccountId,
    /// When it was posted.
    pub time: Time,
    /// How much, with its sign.
    pub amount: Money,
    /// What was on the account after it.
    pub balance: Money,
    /// The other side.
    pub with: AccountId,
    /// What for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// The movement that it takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverses: Option<TransferId>,
    /// When it happened elsewhere, if it was imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booked: Option<Time>,
}

/// One page of movements, newest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transactions {
    /// The movements.
    pub transactions: Vec<Transaction>,
    /// What to ask for the next page with; nothing when this is the last.
    pub next: Option<String>,
}

/// The movements of one page when nobody says otherwise.
pub const TRANSACTIONS: usize = 20;
/// And at most.
pub const TRANSACTIONS_MAX: usize = 200;

impl Bank {
    /// An account, if it is theirs or they operate.
    pub async fn account(&self, principal: &Principal, id: &AccountId) -> Result<AccountView, Failure> {
        match self.views.state(&id.stream(&principal.tenant)).await? {
            State::Account(account) if sees(principal, &account) => view(id, &account),
            State::Account(_) | State::Absent | State::Product(_) => Err(account_not_found(id)),
        }
    }

    /// Refuses unless a run of theirs may spend from the account: it acts as a user,
    /// whatever else they are.
    pub async fn own_account(&self, principal: &Principal, id: &AccountId) -> Result<(), Failure> {
        let buyer = Principal { role: Role::User, ..principal.clone() };
        self.account(&buyer, id).await.map(drop)
    }

    /// The accounts of a user, oldest first.
    pub async fn accounts(&self, principal: &Principal, user: &str) -> Result<Vec<AccountView>, Failure> {
        if user != principal.user && !principal.operates() {
            let message = format!("there is no user {user}");
            return Err(Failure::refused("user.not_found", message));
        }
        let rows = self.directory.accounts(&principal.tenant, user, None).await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows.iter().rev() {
            if let Ok(id) = row.stream.name().parse::<AccountId>()
                && let State::Account(account) = self.views.state(&row.stream).await?
            {
                views.push(view(&id, &account)?);
            }
        }
        Ok(views)
    }

    /// A product.
    pub async fn product(&self, principal: &Principal, id: &ProductId) -> Result<ProductView, Failure> {
        match self.views.state(&id.stream(&principal.tenant)).await? {
            State::Product(product) => Ok(product_view(id, &product)),
            State::Absent | State::Account(_) => Err(product_not_found(id)),
        }
    }

    /// Products, newest first: those after `after`, at most `limit`, and whether there
    /// are more.
    pub async fn products(
        &self,
        principal: &Principal,
        after: Option<(Time, StreamId)>,
        limit: usize,
    ) -> Result<(Vec<ProductView>, Option<(Time, StreamId)>), Failure> {
        let query = ListQuery {
            tenant: principal.tenant.clone(),
            category: PRODUCT.into(),
            after,
            limit,
            ..ListQuery::default()
        };
        let page = self.log.list(query).await.map_err(|e| unreadable(&e))?;
        let mut views = Vec::with_capacity(page.rows.len());
        for row in &page.rows {
            if let Ok(id) = row.stream.name().parse::<ProductId>()
                && let State::Product(product) = self.views.state(&row.stream).await?
            {
                views.push(product_view(&id, &product));
            }
        }
        let last = page.rows.last().filter(|_| page.more);
        Ok((views, last.map(|row| (row.created, row.stream.clone()))))
    }

    /// The movements of one account.
    pub async fn transactions(
        &self,
        principal: &Principal,
        account: &AccountId,
        cursor: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Transactions, Failure> {
        self.account(principal, account).await?;
        self.movements(principal, vec![account.clone()], cursor, limit).await
    }

    /// The movements of all accounts of a user.
    pub async fn transactions_of(
        &self,
        principal: &Principal,
        user: &str,
        cursor: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Transactions, Failure> {
        let accounts = self.accounts(principal, user).await?;
        let accounts = accounts.into_iter().map(|view| view.id).collect();
        self.movements(principal, accounts, cursor, limit).await
    }

    /// Merges the accounts' movements, newest first. The cursor says for each account
    /// before which version to go on, so that what happens meanwhile shifts nothing.
    async fn movements(
        &self,
        principal: &Principal,
        accounts: Vec<AccountId>,
        cursor: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Transactions, Failure> {
        let limit = limit.unwrap_or(TRANSACTIONS);
        if !(1..=TRANSACTIONS_MAX).contains(&limit) {
            let message = format!("limit is {limit}: use 1 to {TRANSACTIONS_MAX}");
            return Err(Failure::refused("limit.out_of_range", message));
        }
        let mut sources = Vec::with_capacity(accounts.len());
        for (account, before) in starts(accounts, cursor)? {
            let stream = account.stream(&principal.tenant);
            let mut source = Source { account, stream, before, read: VecDeque::new() };
            source.fill(&*self.log).await?;
            sources.push(source);
        }
        let mut transactions = Vec::with_capacity(limit);
        while transactions.len() < limit {
            let newest = sources.iter_mut().max_by(|a, b| newer(a, b));
            let Some(source) = newest else { break };
            let Some((_, transaction)) = source.read.pop_front() else {
                break;
            };
            transactions.push(transaction);
            source.fill(&*self.log).await?;
        }
        let more = sources.iter().any(|source| !source.read.is_empty());
        let next = more.then(|| {
            let ends: Vec<String> = sources.iter().map(Source::cursor).collect();
            ends.join(",")
        });
        Ok(Transactions { transactions, next })
    }
}

fn sees(principal: &Principal, account: &Account) -> bool {
    account.belongs_to(principal) || principal.operates()
}

fn view(id: &AccountId, account: &Account) -> Result<AccountView, Failure> {
    let money = |minor| {
        Money::new(minor, account.currency)
            .map_err(|error| Failure::internal("ledger.out_of_range", error.to_string()))
    };
    Ok(AccountView {
        id: id.clone(),
        owner: account.owner.to_string(),
        name: account.name.to_string(),
        balance: money(account.balance)?,
        available: money(account.available())?,
        held: money(account.held)?,
        limits: account.limits,
    })
}

fn product_view(id: &ProductId, product: &Product) -> ProductView {
    ProductView {
        id: id.clone(),
        name: product.name.to_string(),
        price: product.price,
        stock: product.stock,
        merchant: product.merchant.clone(),
    }
}

/// Before every version there will be.
const END: u64 = i64::MAX as u64;

/// Where to go on in each account; at its end without a cursor.
fn starts(accounts: Vec<AccountId>, cursor: Option<&str>) -> Result<Vec<(AccountId, u64)>, Failure> {
    let Some(cursor) = cursor else {
        return Ok(accounts.into_iter().map(|a| (a, END)).collect());
    };
    let wrong = || {
        Failure::refused("cursor.invalid", "not a cursor of this list: use the `next` of an earlier answer")
    };
    let mut starts = Vec::new();
    for part in cursor.split(',') {
        let (account, before) = part.split_once('@').ok_or_else(wrong)?;
        let account: AccountId = account.parse().map_err(|_| wrong())?;
        // Only their own, whatever the cursor says.
        if !accounts.contains(&account) {
            return Err(wrong());
        }
        let before: u64 = before.parse().map_err(|_| wrong())?;
        starts.push((account, before.min(END)));
    }
    Ok(starts)
}

/// The movements of one account, read backwards.
struct Source {
    account: AccountId,
    stream: StreamId,
    /// Everything from this version on has been read.
    before: u64,
    read: VecDeque<(u64, Transaction)>,
}

impl Source {
    /// Reads on until there is a movement, if there is one; passes over all else.
    async fn fill(&mut self, log: &dyn Log) -> Result<(), Failure> {
        const PAGE: usize = 32;
        while self.read.is_empty() {
            let page = log.read_stream_back(&self.stream, self.before, PAGE).await;
            let page = page.map_err(|error| unreadable(&error))?;
            for recorded in &page {
                self.before = recorded.version;
                if let Some(transaction) = movement(&self.account, recorded)? {
                    self.read.push_back((recorded.version, transaction));
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
        Ok(())
    }
    fn cursor(&self) -> String {
        let before = self.read.front().map_or(self.before, |(v, _)| v + 1);
        format!("{}@{before}", self.account)
    }
}

/// Later is newer; of the same time, the higher version.
fn newer(a: &Source, b: &Source) -> Ordering {
    let key = |source: &Source| {
        let next = source.read.front();
        next.map(|(version, transaction)| (transaction.time, *version))
    };
    key(a).cmp(&key(b)).then_with(|| a.account.cmp(&b.account))
}

fn movement(account: &AccountId, recorded: &Recorded) -> Result<Option<Transaction>, Failure> {
    let fact =
        Fact::decode(recorded).map_err(|error| Failure::internal("store.corrupt", error.to_string()))?;
    let Fact::Posted(posted) = fact else {
        return Ok(None);
    };
    let balance = Money::new(posted.balance, posted.amount.currency())
        .map_err(|error| Failure::internal("ledger.out_of_range", error.to_string()))?;
    Ok(Some(Transaction {
        id: posted.transfer,
        account: account.clone(),
        time: recorded.event.time,
        amount: posted.amount,
        balance,
        with: posted.with,
        memo: posted.memo.map(|memo| memo.to_string()),
        reverses: posted.reverses,
        booked: posted.booked,
    }))
}
