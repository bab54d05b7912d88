use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use steadfast_bank::import;
use steadfast_core::{Coded as _, Currency, Failure, Money};

use super::{Global, key_or_new};
use crate::{client::segment, output, store::StoreArgs};

/// See [`super::Command::Bank`].
#[derive(Debug, Subcommand)]
pub(crate) enum BankCommand {
    /// The accounts of the caller, or with an operator's token those of a user.
    Accounts {
        /// Whose.
        #[arg(long)]
        user: Option<String>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// The movements of an account, newest first.
    Transactions {
        /// Which account: ana-checking.
        account: String,
        /// At most so many.
        #[arg(long)]
        limit: Option<u32>,
        /// Go on where an earlier page ended.
        #[arg(long)]
        cursor: Option<String>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Pay a user or an account.
    Transfer(TransferArgs),
    /// Buy something: a durable run.
    Buy(BuyArgs),
    /// What can be bought.
    Products {
        /// At most so many.
        #[arg(long, default_value_t = 200)]
        limit: u32,
        /// Go on where an earlier page ended.
        #[arg(long)]
        cursor: Option<String>,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Bring in accounts or transactions from a file (.csv, .jsonl). Every line is checked
    /// first; a file that was cut off can be imported again. Goes through the server, or
    /// with --store into a store that no server holds.
    Import(ImportArgs),
    /// Whom the caller knows, and by which names: list, add, remove.
    #[command(subcommand)]
    Contacts(ContactsCommand),
    /// Whether a customer may pay, buy and begin conversations: deactivate, activate. For
    /// operators.
    #[command(subcommand)]
    Customers(CustomersCommand),
    /// Measure how well the assistant understands, on rows with known meanings. Exit code 1
    /// when an amount is read wrongly, or fewer than 90 % of the intents rightly.
    Understand(super::understand::UnderstandArgs),
}

/// See [`BankCommand::Contacts`].
#[derive(Debug, Subcommand)]
pub(crate) enum ContactsCommand {
    /// All of them.
    List {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Give a user a name.
    Add {
        /// What to call them: "Luis Pérez".
        name: String,
        /// Who that is.
        user: String,
    },
    /// Forget a name.
    Remove {
        /// Which.
        name: String,
    },
}

/// See [`BankCommand::Customers`].
#[derive(Debug, Subcommand)]
pub(crate) enum CustomersCommand {
    /// They may no longer act. Money still comes in.
    Deactivate {
        /// Who.
        user: String,
    },
    /// They may act again.
    Activate {
        /// Who.
        user: String,
    },
}

/// See [`BankCommand::Transfer`].
#[derive(Debug, Args)]
pub(crate) struct TransferArgs {
    /// A user, or an account.
    to: String,
    /// How much: 1250.50.
    #[arg(allow_hyphen_values = true)]
    amount: String,
    /// In which currency.
    #[arg(long, default_value = "MXN", value_parser = currency)]
    currency: Currency,
    /// From which account; else the caller's checking account.
    #[arg(long)]
    from: Option<String>,
    /// What for.
    #[arg(long)]
    memo: Option<String>,
    /// The idempotency key: the same key again gives the same answer, and moves nothing.
    #[arg(long)]
    key: Option<String>,
}

/// See [`BankCommand::Buy`].
#[derive(Debug, Args)]
pub(crate) struct BuyArgs {
    /// Which product.
    product: String,
    /// How many.
    #[arg(long, default_value_t = 1)]
    quantity: u32,
    /// From which account; else the caller's checking account.
    #[arg(long)]
    from: Option<String>,
    /// The idempotency key.
    #[arg(long)]
    key: Option<String>,
    /// Wait so many seconds for the outcome.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    wait: u64,
}

/// See [`BankCommand::Import`].
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file.
    file: PathBuf,
    /// What it is about; found out by its fields when left out.
    #[arg(long)]
    kind: Option<Kind>,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// user, name, currency, balance
    Accounts,
    /// id, from, to, amount, currency, memo, time
    Transactions,
}

fn currency(text: &str) -> Result<Currency, String> {
    text.parse::<Currency>().map_err(|error| error.to_string())
}

pub(crate) async fn run(command: BankCommand, global: &Global) -> anyhow::Result<()> {
    let reader = |store: StoreArgs| async move { global.connection.reader(&store).await };
    match command {
        BankCommand::Accounts { user, store } => {
            let query: Vec<_> = user.into_iter().map(|user| ("user", user)).collect();
            let answer = reader(store).await?.get("/bank/accounts", &query).await?;
            let columns = [
                ("ACCOUNT", "id"),
                ("OWNER", "owner"),
                ("BALANCE", "balance"),
                ("AVAILABLE", "available"),
                ("HELD", "held"),
            ];
            output::list(&answer, global.json, &columns)
        }
        BankCommand::Transactions { account, limit, cursor, store } => {
            let path = format!("/bank/accounts/{}/transactions", segment(&account));
            let answer = reader(store).await?.get(&path, &page(limit, cursor)).await?;
            let columns = [
                ("TIME", "time"),
                ("AMOUNT", "amount"),
                ("BALANCE", "balance"),
                ("WITH", "with"),
                ("MEMO", "memo"),
                ("ID", "id"),
            ];
            output::list(&answer, global.json, &columns)
        }
        BankCommand::Products { limit, cursor, store } => {
            let answer = reader(store).await?.get("/bank/products", &page(Some(limit), cursor)).await?;
            let columns = [("PRODUCT", "id"), ("NAME", "name"), ("PRICE", "price"), ("STOCK", "stock")];
            output::list(&answer, global.json, &columns)
        }
        BankCommand::Transfer(args) => transfer(args, global).await,
        BankCommand::Buy(args) => buy(args, global).await,
        BankCommand::Contacts(command) => contacts(command, global).await,
        BankCommand::Customers(command) => customers(command, global).await,
        BankCommand::Import(args) => import(args, global).await,
        BankCommand::Understand(args) => super::understand::run(args, global).await,
    }
}

fn page(limit: Option<u32>, cursor: Option<String>) -> Vec<(&'static str, String)> {
    let limit = limit.map(|limit| ("limit", limit.to_string()));
    let cursor = cursor.map(|cursor| ("cursor", cursor));
    limit.into_iter().chain(cursor).collect()
}

async fn transfer(args: TransferArgs, global: &Global) -> anyhow::Result<()> {
    let amount = Money::parse(&args.amount, args.currency)?;
    if let Err(error) = amount.positive() {
        let message = format!("{error}, and {amount} is not: money is sent by whoever has it");
        return Err(Failure { message, ..error.failure() }.into());
    }
    let client = global.connection.client()?;
    let mut body = json!({ "to": args.to, "amount": amount });
    set(&mut body, "from", args.from);
    set(&mut body, "memo", args.memo);
    let key = key_or_new(args.key, global);
    let answer = client.post("/bank/transfers", Some(&key), None, &body).await?;
    told(&answer, global)
}

async fn buy(args: BuyArgs, global: &Global) -> anyhow::Result<()> {
    let client = global.connection.client()?;
    let mut body = json!({ "product": args.product, "quantity": args.quantity });
    set(&mut body, "from", args.from);
    let key = key_or_new(args.key, global);
    let answer = client.post("/bank/purchases", Some(&key), Some(args.wait), &body).await?;
    told(&answer, global)?;
    match answer.body.get("failure") {
        None => Ok(()),
        Some(failure) => {
            let failure: Failure = serde_json::from_value(failure.clone())?;
            Err(anyhow::Error::new(failure).context("nothing was bought"))
        }
    }
}

async fn contacts(command: ContactsCommand, global: &Global) -> anyhow::Result<()> {
    const PATH: &str = "/bank/contacts";
    let client = || global.connection.client();
    match command {
        ContactsCommand::List { store } => {
            let answer = global.connection.reader(&store).await?.get(PATH, &[]).await?;
            output::list(&answer, global.json, &[("NAME", "name"), ("USER", "user")])
        }
        ContactsCommand::Add { name, user } => {
            let answer = client()?.post(PATH, None, None, &json!({ "name": name, "user": user })).await?;
            output::thing(&answer.body, global.json)
        }
        ContactsCommand::Remove { name } => {
            let answer = client()?.delete(PATH, &[("name", name)]).await?;
            output::thing(&answer, global.json)
        }
    }
}

async fn customers(command: CustomersCommand, global: &Global) -> anyhow::Result<()> {
    let client = global.connection.client()?;
    let (user, verb) = match command {
        CustomersCommand::Deactivate { user } => (user, "deactivate"),
        CustomersCommand::Activate { user } => (user, "activate"),
    };
    let path = format!("/bank/customers/{}/{verb}", segment(&user));
    let answer = client.post(&path, None, None, &json!({})).await?;
    output::thing(&answer.body, global.json)
}

fn set(body: &mut Value, field: &str, value: Option<String>) {
    if let (Some(fields), Some(value)) = (body.as_object_mut(), value) {
        fields.insert(field.to_owned(), value.into());
    }
}

fn told(answer: &crate::client::Answer, global: &Global) -> anyhow::Result<()> {
    output::thing(&answer.body, global.json)?;
    if answer.replayed && !global.json {
        output::note("answered before, under the same key: nothing was done again");
    }
    Ok(())
}

async fn import(args: ImportArgs, global: &Global) -> anyhow::Result<()> {
    let kind = match args.kind {
        Some(Kind::Accounts) => import::Kind::Accounts,
        Some(Kind::Transactions) => import::Kind::Transactions,
        None => import::Kind::of(&args.file)?,
    };
    let report = if args.store.store.is_some() {
        crate::serve::import(&args.store, kind, &args.file).await?
    } else {
        import_by_server(&args, kind, global).await?
    };
    if global.json {
        output::json(&report)?;
    } else {
        output::line(format!(
            "{} lines: {} imported, {} were there before",
            report.lines, report.imported, report.repeated
        ));
        for problem in &report.problems {
            let field = problem.field.as_deref().unwrap_or("line");
            let (line, value, rule) = (problem.line, &problem.value, &problem.rule);
            output::line(format!("  line {line}: {field} {value:?}: {rule}"));
        }
    }
    if let Some(failure) = report.stopped {
        let what_to_do = "stopped half-way, import the file again to go on";
        return Err(anyhow::Error::new(failure).context(what_to_do));
    }
    if report.problems.is_empty() {
        return Ok(());
    }
    let message = format!("{} has lines that were not imported", args.file.display());
    Err(Failure::refused("import.refused", message).into())
}

/// Chunk by chunk, each line under its own key.
async fn import_by_server(
    args: &ImportArgs,
    kind: import::Kind,
    global: &Global,
) -> anyhow::Result<import::Report> {
    let mut report = import::check(kind, &args.file)?;
    if !report.problems.is_empty() {
        return Ok(report);
    }
    let client = global.connection.client()?;
    let bar = output::progress(report.lines, "lines");
    for chunk in import::chunks(&args.file)? {
        let body = json!({ "kind": kind, "lines": chunk });
        let answer = client.post("/bank/imports", None, None, &body).await?;
        report.add(serde_json::from_value(answer.body)?);
        bar.inc(chunk.len() as u64);
        if report.stopped.is_some() {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(report)
}
