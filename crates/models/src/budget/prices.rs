//! What models cost.
//!
//! A table is shipped (`prices.toml`), with the day and the page that it was taken from, and
//! the configuration goes before it. Models are known by their exact names: a dated name that
//! is not listed is unknown rather than taken for its sibling, which may cost another price.
//!
//! All is whole numbers: nano-dollars for a million tokens, summed up in 128 bits, and rounded
//! up once, at the end.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::usd::Usd;
use crate::{
    answer::Usage,
    call::Thinking,
    config::{LongPriceConfig, ModelsConfig, PriceConfig, Thinks},
};

const SHIPPED: &str = include_str!("prices.toml");
/// Prices are for so many tokens.
const PER: u128 = 1_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    provider: Vec<Sheet>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    name: String,
    source: String,
    as_of: String,
    model: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    names: Vec<String>,
    #[serde(flatten)]
    price: PriceConfig,
}

/// Where a price was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Whose price it is.
    pub provider: String,
    /// The page that says so.
    pub page: String,
    /// The day that it was looked up.
    pub as_of: String,
}

/// What a million tokens cost, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rates {
    input: u64,
    cached: u64,
    written: u64,
    written_hour: u64,
    output: u64,
}

impl Rates {
    fn new(
        input: Usd,
        cached: Option<Usd>,
        written: Option<Usd>,
        written_hour: Option<Usd>,
        output: Usd,
    ) -> Self {
        let written = written.unwrap_or(input);
        Self {
            input: input.nanos(),
            cached: cached.unwrap_or(input).nanos(),
            written: written.nanos(),
            written_hour: written_hour.unwrap_or(written).nanos(),
            output: output.nanos(),
        }
    }
    fn dearest_input(self) -> u64 {
        self.input.max(self.cached).max(self.written).max(self.written_hour)
    }
}

/// What a model costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Price {
    rates: Rates,
    long: Option<(u64, Rates)>,
    /// A minute of sound.
    minute: u64,
    audio_as_input: bool,
    thinks: Thinks,
}

impl From<&PriceConfig> for Price {
    fn from(config: &PriceConfig) -> Self {
        let long = |it: &LongPriceConfig| {
            let hour = it.cache_write_hour;
            (it.over, Rates::new(it.input, it.cached_input, it.cache_write, hour, it.output))
        };
        let hour = config.cache_write_hour;
        Self {
            rates: Rates::new(config.input, config.cached_input, config.cache_write, hour, config.output),
            long: config.long.as_ref().map(long),
            minute: config.audio_minute.unwrap_or_default().nanos(),
            audio_as_input: config.audio_as_input,
            thinks: config.thinks,
        }
    }
}

impl Price {
    fn sum(&self, parts: &[(u64, u64)], seconds: u64) -> Usd {
        // Two 64-bit factors fit 128 bits; their sum may not, and then it is more than anybody
        // has.
        let part = |(tokens, rate): &(u64, u64)| u128::from(*tokens) * u128::from(*rate);
        let sound = part(&(seconds, self.minute)).saturating_mul(PER).div_ceil(60);
        let all = parts.iter().map(part).fold(sound, u128::saturating_add);
        Usd::from_nanos(u64::try_from(all.div_ceil(PER)).unwrap_or(u64::MAX))
    }
    /// For nothing.
    pub const FREE: Self = Self {
        rates: Rates { input: 0, cached: 0, written: 0, written_hour: 0, output: 0 },
        long: None,
        minute: 0,
        audio_as_input: true,
        thinks: Thinks::Never,
    };
    /// Does sound in a conversation cost what its text does?
    pub(crate) fn knows_audio(&self) -> bool {
        self.audio_as_input
    }
    /// May more have come out than was seen, of a model that was asked like this?
    pub(crate) fn thinks(&self, asked: Thinking) -> bool {
        match self.thinks {
            Thinks::Always => true,
            Thinks::UnlessNone => asked != Thinking::Unwanted,
            Thinks::Asked => asked == Thinking::Wanted,
            Thinks::Never => false,
        }
    }
    /// What a call cost that used so much.
    pub fn cost(&self, usage: Usage) -> Usd {
        let rates = match self.long {
            Some((over, long)) if usage.input > over => long,
            _ => self.rates,
        };
        let hour = usage.cache_written_hour.min(usage.cache_written);
        let cached = usage.cached.saturating_add(usage.cache_written);
        let parts = [
            (usage.input.saturating_sub(cached), rates.input),
            (usage.cached, rates.cached),
            (usage.cache_written - hour, rates.written),
            (hour, rates.written_hour),
            (usage.output, rates.output),
        ];
        self.sum(&parts, usage.seconds)
    }
    /// The most that a call can cost with at most so many tokens, of whatever kind, and seconds
    /// of sound.
    pub fn bound(&self, input: u64, output: u64, seconds: u64) -> Usd {
        let long = self.long.filter(|(over, _)| input > *over).map(|(_, rates)| rates).unwrap_or_default();
        let dearest = self.rates.dearest_input().max(long.dearest_input());
        self.sum(&[(input, dearest), (output, self.rates.output.max(long.output))], seconds)
    }
}

/// All prices that are known.
#[derive(Debug, Default)]
pub struct Prices {
    by_model: HashMap<String, Price>,
    /// Those that hold for one provider alone.
    by_provider: HashMap<String, HashMap<String, Price>>,
}

impl Prices {
    /// The shipped ones, and over them the configuration's.
    pub fn new(config: &ModelsConfig) -> Self {
        let mut prices = Self::default();
        for sheet in shipped() {
            for row in &sheet.model {
                for name in &row.names {
                    prices.by_model.insert(name.clone(), (&row.price).into());
                }
            }
        }
        for (name, price) in &config.prices {
            prices.by_model.insert(name.clone(), price.into());
            if let Some((provider, model)) = name.split_once('/')
                && config.providers.contains_key(provider)
            {
                prices.by_provider.entry(provider.into()).or_default().insert(model.into(), price.into());
            }
        }
        prices
    }
    /// What `provider` takes for `model`. What is made here costs nothing, whatever its name.
    pub fn find(&self, provider: &str, local: bool, model: &str) -> Option<Price> {
        if local {
            return Some(Price::FREE);
        }
        let own = || self.by_provider.get(provider)?.get(model);
        let own = if self.by_provider.is_empty() { None } else { own() };
        own.or_else(|| self.by_model.get(model)).copied()
    }
}

fn shipped() -> Vec<Sheet> {
    #[expect(clippy::expect_used, reason = "the table is part of the binary, and a test reads it")]
    toml::from_str::<Table>(SHIPPED).expect("the shipped table reads").provider
}

/// The price of a model as people want to see it: the configuration's, or the shipped one and
/// where it was found.
pub fn listed(config: &BTreeMap<String, PriceConfig>, model: &str) -> Option<(PriceConfig, Option<Source>)> {
    if let Some(price) = config.get(model) {
        return Some((price.clone(), None));
    }
    shipped().into_iter().find_map(|sheet| {
        let row = sheet.model.into_iter().find(|row| row.names.iter().any(|name| name == model))?;
        let source = Source { provider: sheet.name, page: sheet.source, as_of: sheet.as_of };
        Some((row.price, Some(source)))
    })
}

/// The names of a provider's models in the shipped table.
pub(crate) fn of(provider: &str) -> Vec<String> {
    let own = shipped().into_iter().filter(|sheet| sheet.name == provider);
    own.flat_map(|sheet| sheet.model).flat_map(|row| row.names).collect()
}

/// The names of all models in the shipped table.
pub fn known() -> Vec<String> {
    shipped().into_iter().flat_map(|sheet| sheet.model).flat_map(|row| row.names).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn price(text: &str) -> Price {
        (&toml::from_str::<PriceConfig>(text).expect("a price")).into()
    }

    #[test]
    fn the_shipped_table_is_dated_has_its_sources_and_no_name_twice() {
        let sheets = shipped();
        for sheet in &sheets {
            assert!(sheet.source.starts_with("https://"), "{}", sheet.name);
            assert!(format!("{}T00:00:00Z", sheet.as_of).parse::<steadfast_core::Time>().is_ok());
        }
        let rows: usize = sheets.iter().map(|sheet| sheet.model.len()).sum();
        assert!(rows >= 60, "{rows}");
        let names = known();
        let distinct: BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        for row in sheets.iter().flat_map(|sheet| &sheet.model) {
            let (price, first) = (&row.price, &row.names[0]);
            assert!(price.cached_input.is_none_or(|cached| cached <= price.input), "{first}");
            assert!(price.cache_write.is_none_or(|write| write >= price.input), "{first}");
        }
    }

    #[test]
    fn tokens_are_priced_by_their_kind_and_the_sum_rounded_up() {
        let opus = price(
            "input = '5'\ncached_input = '0.50'\ncache_write = '6.25'\ncache_write_hour = '10'\noutput = '25'",
        );
        let usage = Usage {
            input: 1_000,
            cached: 600,
            cache_written: 300,
            cache_written_hour: 100,
            output: 10,
            seconds: 0,
        };
        // 100 · 5000 + 600 · 500 + 200 · 6250 + 100 · 10000 + 10 · 25000
        assert_eq!(opus.cost(usage), Usd::from_nanos(500_000 + 300_000 + 1_250_000 + 1_000_000 + 250_000));
        let cheap = price("input = '0.000001'");
        assert_eq!(cheap.cost(Usage { input: 1, ..Usage::default() }), Usd::from_nanos(1));
        assert_eq!(cheap.cost(Usage { input: 1_001, ..Usage::default() }), Usd::from_nanos(2));
        let whisper = price("input = '0'\naudio_minute = '0.006'");
        assert_eq!(whisper.cost(Usage { seconds: 61, ..Usage::default() }), Usd::from_nanos(6_100_000));
        let dear = price("input = '18446744073'\noutput = '18446744073'");
        let all = Usage { input: u64::MAX, output: u64::MAX, ..Usage::default() };
        assert_eq!(dear.cost(all), Usd::MAX);
    }

    #[test]
    fn a_long_input_makes_the_whole_call_dearer() {
        let gemini =
            price("input = '1.25'\noutput = '10'\nlong = { over = 10, input = '2.50', output = '15' }");
        let used = |input| gemini.cost(Usage { input, output: 1, ..Usage::default() }).nanos();
        assert_eq!((used(10), used(11)), (10 * 1_250 + 10_000, 11 * 2_500 + 15_000));
    }

    #[test]
    fn who_may_have_thought_is_known_and_where_nobody_says_it_may_have_been() {
        use Thinking::{Unsaid, Unwanted, Wanted};
        let prices = Prices::new(&ModelsConfig::default());
        for (model, thinks) in [
            ("gpt-4o", [false; 3]),
            ("gpt-4o-transcribe", [false; 3]),
            ("claude-sonnet-4-5", [false, false, true]),
            ("claude-opus-4-8", [false, false, true]),
            ("claude-opus-5", [true; 3]),
            ("gpt-5.4", [false, true, true]),
            ("o3", [true; 3]),
            ("gemini-2.5-pro", [true; 3]),
        ] {
            let price = prices.find("p", false, model).expect("it is known");
            assert_eq!([Unwanted, Unsaid, Wanted].map(|asked| price.thinks(asked)), thinks, "{model}");
        }
        assert!(price("input = '1'").thinks(Unwanted));
    }

    #[test]
    fn configuration_goes_before_the_table_and_one_providers_before_all() {
        let config = "[prices.'gpt-4o']\ninput = '1'\n[prices.'azure/gpt-4o']\ninput = '2'\n\
            [providers.azure]\n[providers.openai]\n[providers.here]\nkind = 'local'\n";
        let prices = Prices::new(&toml::from_str(config).expect("a configuration"));
        let input =
            |provider, local, model| prices.find(provider, local, model).map(|it| it.bound(1_000_000, 0, 0));
        let dollars = |n: u64| Some(Usd::from_nanos(n * 1_000_000_000));
        assert_eq!(input("openai", false, "gpt-4o"), dollars(1));
        assert_eq!(input("azure", false, "gpt-4o"), dollars(2));
        assert_eq!(input("openai", false, "gpt-4.1"), dollars(2));
        assert_eq!(input("openai", false, "gpt-4.1-2099-01-01"), None);
        assert_eq!(input("here", true, "anything"), dollars(0));
    }

    proptest! {
        #[test]
        fn no_usage_within_the_bound_costs_more_than_it(
            base in prop::array::uniform5(0..100_000_000_000_u64), long in prop::array::uniform5(0..100_000_000_000_u64),
            over in 0..1_000_u64, input in 0..2_000_u64, output in 0..2_000_u64, part in 0..=100_u64, second in 0..=100_u64,
        ) {
            let rates = |[input, cached, written, written_hour, output]: [u64; 5]| {
                Rates { input, cached, written, written_hour, output }
            };
            let price = Price { rates: rates(base), long: Some((over, rates(long))), minute: over, ..Price::FREE };
            let bound = price.bound(input, output, second);
            let input = input * second / 100;
            let cached = input * part / 100;
            let cache_written = (input - cached) * second / 100;
            let usage = Usage { input, cached, cache_written, cache_written_hour: cache_written * part / 100, output, seconds: second * part / 100 };
            prop_assert!(price.cost(usage) <= bound);
        }
    }
}
