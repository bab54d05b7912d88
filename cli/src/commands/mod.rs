//! The command line: one file for each noun.

pub(crate) mod backup;
pub(crate) mod bank;
pub(crate) mod bench;
pub(crate) mod breakers;
pub(crate) mod cache;
pub(crate) mod calls;
pub(crate) mod chat;
pub(crate) mod config;
pub(crate) mod costs;
pub(crate) mod dead_letters;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod keys;
pub(crate) mod migrate;
pub(crate) mod models;
pub(crate) mod price;
pub(crate) mod resume;
pub(crate) mod runs;
pub(crate) mod token;
pub(crate) mod understand;
pub(crate) mod verify;

use clap::{Args, Parser, Subcommand};

use crate::{client::Connection, serve};

/// The runtime for AI agents that act on the real world.
///
/// Kill it anywhere: what was accepted is finished once, and one command says why.
#[derive(Debug, Parser)]
#[command(name = "steadfast", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Answer in JSON, for programs: an answer on stdout, an error as one object on stderr.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::ServeArgs),
    /// Make a token that is valid for 30 minutes, with the node's key.
    Token(token::TokenArgs),
    /// Tell what a run did and why: every turn, step, attempt, wait, effect and outcome.
    Explain(explain::ExplainArgs),
    /// Runs: list, show, start, signal, cancel, kill, check.
    #[command(subcommand)]
    Runs(runs::RunsCommand),
    /// What gave up: list, show, replay.
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// The log: export, tail.
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Circuit breakers: list, reset.
    #[command(subcommand)]
    Breakers(breakers::BreakersCommand),
    /// Models: list, test, price, calls.
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Kept answers of models: stats, invalidate, warm.
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Virtual keys of the model gateway: create, list, revoke.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// What calls of models cost in a month, by team, key, user, model and so on.
    Costs(costs::CostsArgs),
    /// The bank: accounts, transfer, buy, products, import, contacts, customers, understand.
    #[command(subcommand)]
    Bank(bank::BankCommand),
    /// Talk to the bank's assistant, in Spanish or English.
    Chat(chat::ChatArgs),
    /// Check that a store holds together. Exit code 1 if it does not.
    Verify(verify::VerifyArgs),
    /// Bring a store to this binary's schema, or to another one.
    Migrate(migrate::MigrateArgs),
    /// Copy a store while it is in use, with the records of model calls.
    Backup(backup::BackupArgs),
    /// Make a store from a backup. It is held: nothing runs until `resume`.
    Restore(backup::RestoreArgs),
    /// Let a restored store run.
    Resume(resume::ResumeArgs),
    /// The configuration: check, show, init, reference, reload, import-litellm.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Measure the log, runs and transfers beside what the disk can do, and the gateway beside
    /// what its upstream can do.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

impl Cli {
    /// Answers, and errors, are for programs.
    pub(crate) fn as_json(&self) -> bool {
        self.global.json
    }
}

pub(crate) async fn run(cli: Cli) -> anyhow::Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Serve(args) => serve::serve(args).await,
        Command::Token(args) => token::run(&args, global),
        Command::Explain(args) => explain::run(args, global).await,
        Command::Runs(command) => runs::run(command, global).await,
        Command::DeadLetters(command) => dead_letters::run(command, global).await,
        Command::Events(command) => events::run(command, global).await,
        Command::Breakers(command) => breakers::run(command, global).await,
        Command::Models(command) => models::run(command, global).await,
        Command::Cache(command) => cache::run(command, global).await,
        Command::Keys(command) => keys::run(command, global).await,
        Command::Costs(args) => costs::run(args, global).await,
        Command::Bank(command) => bank::run(command, global).await,
        Command::Chat(args) => chat::run(args, global).await,
        Command::Verify(args) => verify::run(args, global).await,
        Command::Migrate(args) => migrate::run(args, global).await,
        Command::Backup(args) => backup::backup(args, global).await,
        Command::Restore(args) => backup::restore(args, global).await,
        Command::Resume(args) => resume::run(args, global).await,
        Command::Config(command) => config::run(command, global).await,
        Command::Bench(command) => bench::run(command, global).await,
    }
}

/// An idempotency key: the caller's, or a fresh one that is shown, so that the same
/// command can be sent again. Programs find it in the error, should there be one.
pub(crate) fn key_or_new(key: Option<String>, global: &Global) -> String {
    key.unwrap_or_else(|| {
        let key = steadfast_core::World::system().uuid().to_string();
        if !global.json {
            crate::output::note(format!("idempotency key {key} (repeat safely with --key)"));
        }
        key
    })
}
