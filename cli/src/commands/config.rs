use std::path::PathBuf;

use clap::{Args, Subcommand};
use steadfast_core::config::{environment, example_toml, reference_markdown};
use steadfast_core::{Failure, World};

use super::Global;
use crate::{
    config::{Config, ConfigArgs, load, load_to_serve},
    litellm, output,
};

/// See [`super::Command::Config`].
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say for what of its configuration a server started here would be refused, what it
    /// points to included. Exit code 1 if for anything.
    Check(CheckArgs),
    /// Show the configuration that a server started here would have.
    Show(CheckArgs),
    /// Print a file of all keys with their defaults, commented out.
    Init,
    /// Print the reference of all keys.
    Reference,
    /// Have the running server read [models] again. Wrong, it keeps what it has, and says why.
    Reload,
    /// Print a LiteLLM configuration as ours; what has no counterpart is told in comments.
    ImportLitellm(ImportArgs),
}

/// See [`ConfigCommand::Check`].
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// See [`ConfigCommand::ImportLitellm`].
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Its config.yaml.
    file: PathBuf,
}

const REFERENCE: &str = "\
# Configuration

Written by `make docs` from the code; do not edit. `steadfast serve --config FILE` reads a
TOML file with the keys below; a variable `STEADFAST_SECTION__KEY` goes over the file, such
as `STEADFAST_SERVER__LISTEN=127.0.0.1:7500`. Periods have a unit (`250ms`, `30s`, `14d`),
and so have sizes (`256KiB`). Secrets are `{ env = \"NAME\" }` or `{ file = \"PATH\" }`, never
the secret itself. Unknown keys, wrong units and names that lead nowhere stop the start with
file, line and a suggestion, and so do secrets that are not where they should be and providers
that cannot be set up; `steadfast config check`, with the variables that the server would have,
says the same without starting.
";

const EXAMPLE: &str = "\
# Every key of a Steadfast node with its default, commented out.
# Written by `steadfast config init`; check changes with `steadfast config check`.
";

pub(crate) async fn run(command: ConfigCommand, global: &Global) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check(args) => {
            load_to_serve(&args.config, &World::system())?;
            let file = args.config.config.as_ref().map(|file| file.display().to_string());
            if global.json {
                return output::json(&serde_json::json!({ "ok": true, "file": file }));
            }
            output::line(match file {
                Some(file) => format!("The configuration is fine: {file}, and the variables over it."),
                None => {
                    "The defaults are fine, and the variables over them. No file was named: see --config."
                        .into()
                }
            });
            Ok(())
        }
        ConfigCommand::Show(args) => {
            let config = load(&args.config)?;
            if global.json {
                return output::json(&config);
            }
            output::line(toml::to_string(&config)?.trim_end());
            Ok(())
        }
        ConfigCommand::Reload => {
            let client = global.connection.client()?;
            client.post("/models/reload", None, None, &serde_json::json!({})).await?;
            if global.json {
                return output::json(&serde_json::json!({ "ok": true }));
            }
            output::line("The server uses [models] as it is configured now; other sections need a restart.");
            Ok(())
        }
        ConfigCommand::ImportLitellm(args) => import_litellm(&args, global),
        ConfigCommand::Init => {
            output::line(format!("{EXAMPLE}{}", example_toml::<Config>()).trim_end());
            Ok(())
        }
        ConfigCommand::Reference => {
            let page = reference_markdown::<Config>();
            output::line(format!("{REFERENCE}\n{page}").trim_end());
            Ok(())
        }
    }
}

fn import_litellm(args: &ImportArgs, global: &Global) -> anyhow::Result<()> {
    let name = args.file.display();
    let text = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::refused("import.unreadable", format!("{name} cannot be read: {error}")))?;
    let imported = litellm::import(&text, &environment()).map_err(|why| {
        Failure::refused("import.invalid", format!("{name} is no LiteLLM configuration: {why}"))
    })?;
    if global.json {
        return output::json(&imported);
    }
    output::line(imported.print().trim_end());
    Ok(())
}
