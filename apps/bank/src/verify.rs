//! Checks the books against the log alone. It shares nothing with the code that writes
//! them but the names of events, so that one mistake cannot hide the other.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use steadfast_core::Failure;
use steadfast_log::{Log, Position, ReadError, Recorded, StreamId};

use crate::{
    books::{Entry, unreadable},
    customer,
    events::kind,
    names::{ACCOUNT, CUSTOMER, PRODUCT, PURCHASE},
};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Events read, of all kinds.
    pub events: u64,
    /// Commits read.
    pub commits: u64,
    /// Movements of money.
    pub transfers: u64,
    /// Accounts, those of the books themselves included.
    pub accounts: usize,
    /// Holds that are open.
    pub holds: usize,
    /// Products.
    pub products: usize,
    /// Reservations that are open.
    pub reservations: usize,
    /// Purchases.
    pub purchases: usize,
    /// Customers of whom something is written: a contact, or that they may not act.
    pub customers: usize,
    /// Sum of all balances by currency: zero each.
    pub sums: BTreeMap<String, i64>,
    /// Balances by account's stream, in minor units.
    #[serde(skip)]
    pub balances: BTreeMap<String, i64>,
    /// How many problems there are.
    pub problems_found: u64,
    /// The first 100 of them, each with the event where it shows.
    pub problems: Vec<String>,
}

impl Report {
    /// Nothing is wrong.
    pub fn passed(&self) -> bool {
        self.problems_found == 0
    }
}

const PAGE: usize = 1_000;
const PROBLEMS: usize = 100;

/// Reads the whole log and checks: the postings of each movement, and so of each commit,
/// sum to zero per currency; no balance less its holds is below its floor; holds and
/// reservations are resolved at most once; stock is never below zero; a purchase
/// completes at most once and only with its stock; a customer knows one user by a name.
pub async fn verify(log: &dyn Log) -> Result<Report, Failure> {
    let mut audit = Audit::default();
    let mut position = Position::START;
    loop {
        let page = log.read_all(position, PAGE).await;
        let page = page.map_err(|error| unreadable(&error))?;
        if page.events.is_empty() {
            return Ok(audit.report());
        }
        for recorded in &page.events {
            audit.event(recorded);
        }
        position = page.next;
    }
}

/// Is the snapshot of one of the bank's streams what the events amount to? Snapshots of
/// other streams are nobody's here.
pub async fn snapshot(log: &dyn Log, stream: &StreamId) -> Result<bool, ReadError> {
    let Some(snapshot) = log.snapshot(stream).await? else {
        return Ok(true);
    };
    match stream.category() {
        ACCOUNT | PRODUCT => Entry::check(log, stream, snapshot).await,
        CUSTOMER => customer::check(log, stream, snapshot).await,
        _ => Ok(true),
    }
}

#[derive(Default)]
struct Audit {
    report: Report,
    accounts: HashMap<String, Account>,
    products: HashMap<String, Product>,
    purchases: HashMap<String, HashSet<String>>,
    customers: HashMap<String, Customer>,
    /// Of the commit being read: sums by (transfer, currency).
    sums: BTreeMap<(String, String), i128>,
    touched: HashSet<String>,
}

#[derive(Default)]
struct Account {
    currency: String,
    floor: i64,
    balance: i64,
    holds: HashMap<String, i64>,
}

#[derive(Default)]
struct Product {
    stock: i64,
    reservations: HashMap<String, i64>,
}

#[derive(Default)]
struct Customer {
    contacts: HashSet<String>,
    inactive: bool,
}

#[derive(Deserialize)]
struct Amount {
    minor: i64,
    currency: String,
}
#[derive(Deserialize)]
struct Opening {
    floor: Amount,
}
#[derive(Deserialize)]
struct Posting {
    transfer: String,
    amount: Amount,
    balance: i64,
    hold: Option<String>,
}
#[derive(Deserialize)]
struct Holding {
    hold: String,
    amount: Option<Amount>,
}
#[derive(Deserialize)]
struct Stocking {
    stock: i64,
}
#[derive(Deserialize)]
struct Reserving {
    reservation: String,
    quantity: Option<i64>,
}
#[derive(Deserialize)]
struct Knowing {
    name: String,
}

impl Audit {
    fn event(&mut self, recorded: &Recorded) {
        self.report.events += 1;
        let found = match recorded.stream.category() {
            ACCOUNT => self.account(recorded),
            PRODUCT => self.product(recorded),
            PURCHASE => self.purchase(recorded),
            CUSTOMER => self.customer(recorded),
            _ => Ok(()),
        };
        if let Err(problem) = found {
            self.problem(format!(
                "{} version {} ({}): {problem}",
                recorded.stream, recorded.version, recorded.event.kind
            ));
        }
        if recorded.ends {
            self.commit_ends(recorded);
        }
    }

    fn problem(&mut self, problem: String) {
        self.report.problems_found += 1;
        if self.report.problems.len() < PROBLEMS {
            self.report.problems.push(problem);
        }
    }

    /// What must hold after every commit.
    fn commit_ends(&mut self, last: &Recorded) {
        self.report.commits += 1;
        let mut problems = Vec::new();
        for ((transfer, currency), sum) in std::mem::take(&mut self.sums) {
            self.report.transfers += 1;
            if sum != 0 {
                problems.push(format!("transfer {transfer} leaves {sum} {currency} over"));
            }
        }
        for stream in std::mem::take(&mut self.touched) {
            let Some(account) = self.accounts.get(&stream) else {
                continue;
            };
            let held: i64 = account.holds.values().sum();
            if account.balance - held < account.floor {
                problems.push(format!(
                    "{stream} has {} with {held} held, below its floor of {}",
                    account.balance, account.floor
                ));
            }
        }
        for problem in problems {
            self.problem(format!("commit that ends at {}: {problem}", last.position));
        }
    }

    fn account(&mut self, recorded: &Recorded) -> Result<(), String> {
        let stream = recorded.stream.as_str();
        if !self.touched.contains(stream) {
            self.touched.insert(stream.to_owned());
        }
        let kind = &*recorded.event.kind;
        if kind == kind::ACCOUNT_OPENED {
            let opening: Opening = body(recorded)?;
            let account = Account {
                currency: opening.floor.currency,
                floor: opening.floor.minor,
                ..Account::default()
            };
            let earlier = self.accounts.insert(stream.to_owned(), account);
            return fine(earlier.is_none(), || "the account was there".into());
        }
        let Some(account) = self.accounts.get_mut(stream) else {
            return Err("the account was never opened".into());
        };
        match kind {
            kind::POSTED => {
                let posting: Posting = body(recorded)?;
                let amount = posting.amount;
                account.balance += amount.minor;
                let sum = (posting.transfer, amount.currency.clone());
                *self.sums.entry(sum).or_default() += i128::from(amount.minor);
                if let Some(hold) = posting.hold {
                    let held = account.holds.remove(&hold);
                    let held = held.ok_or(format!("captures hold {hold}, which is not open"))?;
                    fine(-amount.minor <= held, || {
                        format!("captures {} of hold {hold} of {held}", -amount.minor)
                    })?;
                }
                fine(amount.currency == account.currency, || {
                    format!("{} on an account in {}", amount.currency, account.currency)
                })?;
                fine(posting.balance == account.balance, || {
                    format!("says the balance is {}, it is {}", posting.balance, account.balance)
                })
            }
            kind::HELD => {
                let holding: Holding = body(recorded)?;
                let amount = holding.amount.ok_or("has no amount")?.minor;
                let earlier = account.holds.insert(holding.hold, amount);
                fine(earlier.is_none() && amount > 0, || "the hold was there, or is of nothing".into())
            }
            kind::HOLD_RELEASED => {
                let holding: Holding = body(recorded)?;
                let held = account.holds.remove(&holding.hold);
                fine(held.is_some(), || format!("releases hold {}, which is not open", holding.hold))
            }
            kind::ACCOUNT_REFUSED => Ok(()),
            _ => Err("is not known on an account".into()),
        }
    }

    fn product(&mut self, recorded: &Recorded) -> Result<(), String> {
        let stream = recorded.stream.as_str();
        let kind = &*recorded.event.kind;
        if kind == kind::PRODUCT_LISTED {
            let stock = body::<Stocking>(recorded)?.stock;
            let product = Product { stock, ..Product::default() };
            let earlier = self.products.insert(stream.to_owned(), product);
            return fine(earlier.is_none() && stock >= 0, || {
                "the product was there, or starts below zero".into()
            });
        }
        let Some(product) = self.products.get_mut(stream) else {
            return Err("the product was never listed".into());
        };
        if kind == kind::PRODUCT_REFUSED {
            return Ok(());
        }
        let Reserving { reservation, quantity } = body(recorded)?;
        let open = |product: &mut Product| {
            let removed = product.reservations.remove(&reservation);
            removed.ok_or(format!("reservation {reservation} is not open"))
        };
        match kind {
            kind::RESERVED => {
                let quantity = quantity.ok_or("has no quantity")?;
                product.stock -= quantity;
                let earlier = product.reservations.insert(reservation, quantity);
                fine(product.stock >= 0 && earlier.is_none() && quantity > 0, || {
                    format!("leaves a stock of {}", product.stock)
                })
            }
            kind::RESERVATION_RELEASED => {
                product.stock += open(product)?;
                Ok(())
            }
            kind::SOLD => {
                let reserved = open(product)?;
                fine(quantity == Some(reserved), || format!("sells {quantity:?} of {reserved} reserved"))
            }
            kind::RETURNED => {
                product.stock += quantity.ok_or("has no quantity")?;
                Ok(())
            }
            _ => Err("is not known on a product".into()),
        }
    }

    fn purchase(&mut self, recorded: &Recorded) -> Result<(), String> {
        let kind = &*recorded.event.kind;
        let id = recorded.stream.to_string();
        let seen = self.purchases.entry(id).or_default();
        if kind == kind::PURCHASE_INITIATED && seen.contains(kind::INVENTORY_RELEASED) {
            // It gave up, was undone, and is replayed from its beginning.
            seen.clear();
        }
        let wants_stock = [kind::PURCHASE_COMPLETED, kind::INVENTORY_RELEASED].contains(&kind);
        let has = |kind: &str| seen.contains(kind);
        fine(!wants_stock || has(kind::INVENTORY_RESERVED), || "its stock was never reserved".into())?;
        fine(!wants_stock || !has(kind::PURCHASE_COMPLETED) && !has(kind::INVENTORY_RELEASED), || {
            "its stock was sold or released before".into()
        })?;
        seen.insert(kind.to_owned());
        Ok(())
    }

    fn customer(&mut self, recorded: &Recorded) -> Result<(), String> {
        let customer = self.customers.entry(recorded.stream.to_string()).or_default();
        let name = || body::<Knowing>(recorded).map(|knowing| knowing.name);
        match &*recorded.event.kind {
            kind::CONTACT_ADDED => fine(customer.contacts.insert(name()?), || "the name was there".into()),
            kind::CONTACT_REMOVED => fine(customer.contacts.remove(&name()?), || "no such name".into()),
            changed @ (kind::CUSTOMER_DEACTIVATED | kind::CUSTOMER_ACTIVATED) => {
                let inactive = changed == kind::CUSTOMER_DEACTIVATED;
                let before = std::mem::replace(&mut customer.inactive, inactive);
                fine(before != inactive, || "they were that before".into())
            }
            _ => Err("is not known on a customer".into()),
        }
    }

    fn report(mut self) -> Report {
        for (stream, account) in &self.accounts {
            let sum = self.report.sums.entry(account.currency.clone());
            *sum.or_default() += account.balance;
            self.report.balances.insert(stream.clone(), account.balance);
            self.report.holds += account.holds.len();
        }
        for (currency, sum) in self.report.sums.clone() {
            if sum != 0 {
                self.problem(format!("all balances in {currency} sum to {sum}, not zero"));
            }
        }
        let open = self.products.values().map(|p| p.reservations.len());
        self.report.reservations = open.sum();
        self.report.accounts = self.accounts.len();
        self.report.products = self.products.len();
        self.report.purchases = self.purchases.len();
        self.report.customers = self.customers.len();
        self.report
    }
}

fn fine(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}

fn body<T: DeserializeOwned>(recorded: &Recorded) -> Result<T, String> {
    serde_json::from_slice(&recorded.event.body).map_err(|error| format!("cannot be read: {error}"))
}
