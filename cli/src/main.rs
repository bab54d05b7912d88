//! The `steadfast` binary: the only place that knows every part of the house.

mod bench;
mod client;
mod commands;
mod config;
mod effects;
mod failed;
mod keys;
mod litellm;
mod local;
mod models;
mod node;
mod output;
mod retention;
mod serve;
mod store;
mod talk;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

use failed::Failed;

/// Several threads share it better than the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages, which take memory that is never used: 30 MB of an idle
    // node. Where the kernel knows nothing of it, that is all that is lost.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    steadfast_core::logging::install_panic_hook();
    // One provider for the whole process; an error means that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match commands::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let as_json = cli.as_json();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = anyhow::Error::new(error).context("threads cannot be started");
            output::failed(&Failed::of(&error), as_json);
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough, as with `| head`.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::failed(&Failed::of(&error), as_json);
            ExitCode::FAILURE
        }
    }
}

/// Help and version, or what is wrong with the command line. It did not parse, so whether
/// it asks for JSON is seen from its words.
fn misused(error: &clap::Error) -> ExitCode {
    let mut words = std::env::args_os().take_while(|word| word != "--");
    if error.use_stderr() && words.any(|word| word == "--json") {
        output::failed(&Failed::usage(error), true);
        return ExitCode::from(2);
    }
    // Nothing to be done if nobody reads it.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
