use clap::{Args, Subcommand};
use steadfast_core::config::{example_toml, reference_markdown};

use super::Global;
use crate::{
    config::{Config, ConfigArgs, load},
    output,
};

/// See [`super::Command::Config`].
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what is wrong with the configuration. Exit code 1 if anything is.
    Check(CheckArgs),
    /// Show the configuration that a server started here would have.
    Show(CheckArgs),
    /// Print a file of all keys with their defaults, commented out.
    Init,
    /// Print the reference of all keys.
    Reference,
}

/// See [`ConfigCommand::Check`].
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

const REFERENCE: &str = "\
# Configuration

Written by `make docs` from the code; do not edit. `steadfast serve --config FILE` reads a
TOML file with the keys below; a variable `STEADFAST_SECTION__KEY` goes over the file, such
as `STEADFAST_SERVER__LISTEN=127.0.0.1:7500`. Periods have a unit (`250ms`, `30s`, `14d`),
and so have sizes (`256KiB`). Secrets are `{ env = \"NAME\" }` or `{ file = \"PATH\" }`, never
the secret itself. Unknown keys, wrong units and names that lead nowhere stop the start with
file, line and a suggestion; `steadfast config check` says the same without starting.
";

const EXAMPLE: &str = "\
# Every key of a Steadfast node with its default, commented out.
# Written by `steadfast config init`; check changes with `steadfast config check`.
";

pub(crate) fn run(command: ConfigCommand, global: &Global) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check(args) => {
            load(&args.config)?;
            let answer = serde_json::json!({ "ok": true });
            if global.json {
                return output::json(&answer);
            }
            output::line("The configuration is fine.");
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
