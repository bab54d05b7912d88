use clap::Args;
use serde_json::json;
use steadfast_core::{Failure, config::nearest};
use steadfast_models::{
    Thinks,
    answer::Usage,
    budget::prices::{self, Price},
};

use super::Global;
use crate::{
    config::{self, ConfigArgs},
    output,
};

/// See [`super::models::ModelsCommand::Price`].
#[derive(Debug, Args)]
pub(crate) struct PriceArgs {
    /// Its name, as providers know it.
    model: String,
    /// Tokens in, to see what a call costs.
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    input: u64,
    /// Tokens out.
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    output: u64,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) fn run(args: PriceArgs, global: &Global) -> anyhow::Result<()> {
    let PriceArgs { model, input, output, config } = args;
    let of = match &config.config {
        Some(file) => file.display().to_string(),
        None => "the variables here; a server's own file is named with --config".to_owned(),
    };
    let known = config::load(&config)?.models.prices;
    let (price, source) = prices::listed(&known, &model).ok_or_else(|| {
        let names = prices::known();
        let meant = nearest(&model, names.iter().chain(known.keys()).map(String::as_str));
        let meant = meant.map(|it| format!("; did you mean {it:?}?")).unwrap_or_default();
        let message = format!(
            "no price is known for {model:?}{meant}: add [models.prices.{model:?}] to the configuration; looked up \
             in the shipped table and in {of}"
        );
        Failure::refused("model.unpriced", message)
    })?;
    let cost = (input > 0 || output > 0).then(|| {
        let usage = Usage { input, output, ..Usage::default() };
        Price::from(&price).cost(usage)
    });
    if global.json {
        let source = source.map(|it| json!({ "provider": it.provider, "page": it.page, "as_of": it.as_of }));
        return output::json(
            &json!({ "model": model, "per_million_tokens": price, "source": source, "cost_usd": cost }),
        );
    }
    let mut rows = vec![("input", Some(price.input)), ("cached input", price.cached_input)];
    rows.extend([("cache write", price.cache_write), ("cache write, an hour", price.cache_write_hour)]);
    rows.push(("output", Some(price.output)));
    if let Some(long) = &price.long {
        output::note(format!("an input of more than {} tokens makes the whole call dearer", long.over));
        rows.extend([("long input", Some(long.input)), ("long output", Some(long.output))]);
    }
    rows.push(("a minute of sound", price.audio_minute));
    let rows: Vec<_> = rows
        .into_iter()
        .filter_map(|(what, price)| Some(vec![what.to_owned(), price?.to_string()]))
        .collect();
    output::table(&["USD FOR A MILLION TOKENS", "PRICE"], &rows);
    let thinks = match price.thinks {
        Thinks::Always => "whatever the request says",
        Thinks::UnlessNone => "unless a chat says that it wants no reasoning",
        Thinks::Asked => "when asked to",
        Thinks::Never => "never",
    };
    output::line(format!("it thinks before it answers: {thinks}"));
    match source {
        Some(it) => {
            output::line(format!("{}, as of {}: {}", it.provider, it.as_of, it.page));
            output::line(format!("Nothing else is said in {of}."));
        }
        None => output::line(format!("From {of}.")),
    }
    if let Some(cost) = cost {
        output::line(format!("{input} tokens in and {output} out cost ${cost}"));
    }
    Ok(())
}
