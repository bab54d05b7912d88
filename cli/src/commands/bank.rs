use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use steadfast_bank::import;
use steadfast_core::{Currency, Money};

use super::{Global, key_or_new};
use crate::{
    client::{Client, segment},
    output::{self, cell},
    store::StoreArgs,
};

/// See [`super::Command::Bank`].
#[derive(Debug, Subcommand)]
pub(crate) enum BankCommand {
    /// The accounts of the caller, or with an operator's token those of a user.
    Accounts {
        /// Whose.
        #[arg(long)]
        user: Option<String>,
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
}

/// See [`BankCommand::Contacts`].
#[derive(Debug, Subcommand)]
pub(crate) enum ContactsCommand {
    /// All of them.
    List,
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
    if let BankCommand::Import(args) = command {
        return import(args, global).await;
    }
    let client = global.connection.client()?;
    match command {
        BankCommand::Accounts { user } => {
            let query: Vec<_> = user.into_iter().map(|user| ("user", user)).collect();
            let answer = client.get("/bank/accounts", &query).await?;
            let columns = [
                ("ACCOUNT", "id"),
                ("OWNER", "owner"),
                ("BALANCE", "balance"),
                ("AVAILABLE", "available"),
                ("HELD", "held"),
            ];
            output::list(&answer, global.json, &columns)
        }
        BankCommand::Transactions { account, limit, cursor } => {
            let path = format!("/bank/accounts/{}/transactions", segment(&account));
            let answer = client.get(&path, &page(limit, cursor)).await?;
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
        BankCommand::Products { limit, cursor } => {
            let answer = client.get("/bank/products", &page(Some(limit), cursor)).await?;
            let columns = [("PRODUCT", "id"), ("NAME", "name"), ("PRICE", "price"), ("STOCK", "stock")];
            output::list(&answer, global.json, &columns)
        }
        BankCommand::Transfer(args) => transfer(&client, args, global).await,
        BankCommand::Buy(args) => buy(&client, args, global).await,
        BankCommand::Contacts(command) => contacts(&client, command, global).await,
        BankCommand::Customers(command) => customers(&client, command, global).await,
        BankCommand::Import(_) => Ok(()),
    }
}

fn page(limit: Option<u32>, cursor: Option<String>) -> Vec<(&'static str, String)> {
    let limit = limit.map(|limit| ("limit", limit.to_string()));
    let cursor = cursor.map(|cursor| ("cursor", cursor));
    limit.into_iter().chain(cursor).collect()
}

async fn transfer(client: &Client, args: TransferArgs, global: &Global) -> anyhow::Result<()> {
    let amount = Money::parse(&args.amount, args.currency)?;
    let mut body = json!({ "to": args.to, "amount": amount });
    set(&mut body, "from", args.from);
    set(&mut body, "memo", args.memo);
    let key = key_or_new(args.key);
    let answer = client.post("/bank/transfers", Some(&key), None, &body).await?;
    told(&answer, global)
}

async fn buy(client: &Client, args: BuyArgs, global: &Global) -> anyhow::Result<()> {
    let mut body = json!({ "product": args.product, "quantity": args.quantity });
    set(&mut body, "from", args.from);
    let key = key_or_new(args.key);
    let answer = client.post("/bank/purchases", Some(&key), Some(args.wait), &body).await?;
    told(&answer, global)?;
    if let Some(failure) = answer.body.get("failure") {
        let (message, code) = (cell(failure, "message"), cell(failure, "code"));
        anyhow::bail!("nothing was bought: {message} ({code})");
    }
    Ok(())
}

async fn contacts(client: &Client, command: ContactsCommand, global: &Global) -> anyhow::Result<()> {
    const PATH: &str = "/bank/contacts";
    match command {
        ContactsCommand::List => {
            let answer = client.get(PATH, &[]).await?;
            output::list(&answer, global.json, &[("NAME", "name"), ("USER", "user")])
        }
        ContactsCommand::Add { name, user } => {
            let answer = client.post(PATH, None, None, &json!({ "name": name, "user": user })).await?;
            output::thing(&answer.body, global.json)
        }
        ContactsCommand::Remove { name } => {
            let answer = client.delete(PATH, &[("name", name)]).await?;
            output::thing(&answer, global.json)
        }
    }
}

async fn customers(client: &Client, command: CustomersCommand, global: &Global) -> anyhow::Result<()> {
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
    if answer.replayed {
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
        anyhow::bail!("stopped half-way, import the file again to go on: {failure}");
    }
    anyhow::ensure!(report.problems.is_empty(), "{} has lines that were not imported", args.file.display());
    Ok(())
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
