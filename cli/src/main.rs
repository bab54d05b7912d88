//! The `steadfast` binary: the only place that knows every part of the house.

mod bench;
mod client;
mod commands;
mod config;
mod effects;
mod node;
mod output;
mod retention;
mod serve;
mod store;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    steadfast_core::logging::install_panic_hook();
    // One provider for the whole process; an error means that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = commands::Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&anyhow::anyhow!("cannot start threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(code) => code,
        // Whoever read our output has seen enough, as with `| head`.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}
