use clap::Subcommand;
use serde_json::json;

use super::Global;
use crate::{client::segment, output};

/// See [`super::Command::Breakers`].
#[derive(Debug, Subcommand)]
pub(crate) enum BreakersCommand {
    /// How every breaker stands.
    List,
    /// Close a breaker by hand.
    Reset {
        /// Its name, as `list` shows it.
        name: String,
    },
}

pub(crate) async fn run(command: BreakersCommand, global: &Global) -> anyhow::Result<()> {
    let client = global.connection.client()?;
    match command {
        BreakersCommand::List => {
            let answer = client.get("/breakers", &[]).await?;
            let columns = [
                ("NAME", "name"),
                ("STATE", "state"),
                ("IN A ROW", "failures_in_a_row"),
                ("CALLS", "calls"),
                ("FAILED", "failures"),
            ];
            output::list(&answer, global.json, &columns)
        }
        BreakersCommand::Reset { name } => {
            let path = format!("/breakers/{}/reset", segment(&name));
            client.post(&path, None, None, &json!({})).await?;
            if global.json {
                return output::json(&json!({ "name": name, "state": "closed" }));
            }
            output::line(format!("breaker {name} is closed"));
            Ok(())
        }
    }
}
