use std::{num::NonZeroU32, time::Duration};

use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Where to listen.
    listen: String,
    store: Store,
    /// Sinks by name.
    sinks: BTreeMap<String, Sink>,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: "127.0.0.1:7400".into(), store: Store::default(), sinks: BTreeMap::new() }
    }
}

/// The store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)] // without deny_unknown_fields: a typo is found all the same
struct Store {
    /// Longest wait | for the disk.
    sync_wait: Period,
    cache: Size,
    /// Part that may fail.
    bad: Share,
    mode: Mode,
    writers: NonZeroU32,
    key: Option<SecretSource>,
    tags: Vec<String>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            sync_wait: Duration::from_millis(250).into(),
            cache: Size::bytes(64 << 20),
            bad: Share::new(0.1).expect("a share"),
            mode: Mode::Full,
            writers: NonZeroU32::MIN,
            key: None,
            tags: vec!["a".into()],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Full,
    Normal,
}

/// A sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sink {
    /// Its address.
    url: String,
    /// Its secret.
    secret: Option<SecretSource>,
}

fn env(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn refusal(text: &str, pairs: &[(&str, &str)]) -> String {
    load::<Config>(Some(("s.toml", text)), &env(pairs)).expect_err("refused").to_string()
}

#[test]
fn nothing_said_gives_the_defaults() {
    assert_eq!(load::<Config>(None, &Environment::new()), Ok(Config::default()));
}

#[test]
fn variables_overlay_the_file_and_are_read_as_what_the_key_wants() {
    let text = "[store]\nsync_wait = '1s'\nwriters = 2\n[sinks.My-Hook]\nurl = 'http://a'\n";
    let variables = env(&[
        ("STEADFAST_LISTEN", "12"),
        ("STEADFAST_STORE__WRITERS", "3"),
        ("STEADFAST_STORE__BAD", "0.5"),
        ("STEADFAST_STORE__TAGS", "['x', 'y']"),
        ("STEADFAST_STORE__KEY__ENV", "KEY"),
        ("STEADFAST_STORE__MODE", "normal"),
        ("STEADFAST_SINKS__MY_HOOK__URL", "http://b"),
        ("STEADFAST_URL", "http://server"),
        ("STEADFAST_TOKEN", "t"),
        ("STEADFAST_CONFIG", "s.toml"),
        ("HOME", "/root"),
    ]);
    let config: Config = load(Some(("s.toml", text)), &variables).expect("loads");
    assert_eq!(config.listen, "12");
    assert_eq!(config.store.sync_wait.get(), Duration::from_secs(1));
    assert_eq!(config.store.writers.get(), 3);
    assert_eq!(config.store.bad.get().to_string(), "0.5");
    assert_eq!(config.store.tags, ["x", "y"]);
    assert_eq!(config.store.key, Some(SecretSource::Env("KEY".into())));
    assert_eq!(config.store.mode, Mode::Normal);
    assert_eq!(config.sinks["My-Hook"].url, "http://b");
}

#[test]
fn each_mistake_names_file_line_key_value_rule_and_suggestion() {
    let rule = "expected a whole number and a unit (us, ms, s, m, h or d), such as \"30s\" or \"250ms\"";
    for (text, pairs, said) in [
        ("listen = 'a'\n\n[store]\nsync_wiat = '1s'\n", &[][..], "s.toml:4: store.sync_wiat: unknown key; known here: sync_wait, cache, bad, mode, writers, key, tags; did you mean `sync_wait`?".to_owned()),
        ("[stoer]\n", &[], "s.toml:1: stoer: unknown key; known here: listen, store, sinks; did you mean `store`?".into()),
        ("[store]\nsync_wait = 30\n", &[], format!("s.toml:2: store.sync_wait = 30: {rule}, found a whole number")),
        ("[store]\nsync_wait = '30 sec'\n", &[], format!("s.toml:2: store.sync_wait = \"30 sec\": {rule}")),
        ("", &[("STEADFAST_STORE__SYNC_WAIT", "30")], format!("variable STEADFAST_STORE__SYNC_WAIT: store.sync_wait = \"30\": {rule}")),
        ("", &[("STEADFAST_STORR__X", "30")], "variable STEADFAST_STORR__X: storr: unknown key; known here: listen, store, sinks; did you mean `store`?".into()),
        ("[store]\nmode = 'ful'\n", &[], "s.toml:2: store.mode = \"ful\": expected one of full, normal; did you mean `full`?".into()),
        ("[store]\nbad = 1.5\n", &[], "s.toml:2: store.bad = 1.5: expected a share from 0 to 1, such as 0.1 for 10 %".into()),
        ("[store]\nbad = nan\n", &[], "s.toml:2: store.bad = NaN: expected a share from 0 to 1, such as 0.1 for 10 %".into()),
        ("[store]\nwriters = 0\n", &[], "s.toml:2: store.writers = 0: expected a whole number of at least 1".into()),
        ("[store]\nwriters = 'ten'\n", &[], "s.toml:2: store.writers = \"ten\": expected a whole number of at least 1, found text".into()),
        ("[store]\nkey = 'hunter2'\n", &[], "s.toml:2: store.key: expected either { env = \"NAME\" } or { file = \"PATH\" }".into()),
        ("[store]\ntags = [\n'a',\n3]\n", &[], "s.toml:4: store.tags.1 = 3: expected a string, found a whole number".into()),
        ("store = 3\n", &[], "s.toml:1: store: expected a table with sync_wait, cache, bad, mode, writers, key, tags".into()),
        ("listen = 'a'\n", &[("STEADFAST_LISTEN__X", "1")], "variable STEADFAST_LISTEN__X: listen: s.toml:1 already gives `listen` a value that is no table".into()),
        ("[sinks.a]\n", &[], "s.toml:1: sinks.a.url: this key is required".into()),
        ("listen = 'a'\nlisten = 'b'\n", &[], "s.toml:2: not TOML: duplicate key".into()),
        ("[store]\nwriters = 99999999999999999999\n", &[], "s.toml:2: store.writers = 99999999999999999999: a whole number has at most 63 bits".into()),
    ] {
        assert_eq!(refusal(text, pairs), said, "for {text:?} {pairs:?}");
    }
}

#[test]
fn all_unknown_keys_are_told_at_once() {
    let said = refusal("a = 1\n[store]\nb = 1\ncache = 5\n", &[]);
    assert_eq!(said.lines().count(), 3, "{said}");
    let said = refusal("a = 1\n[sinks.x]\nurl = 'u'\nb = 1\n", &[]);
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn a_secret_in_the_wrong_place_is_never_repeated() {
    for text in [
        "[store]\nkey = 'hunter2'\n",
        "[store]\nkey = { evn = 'hunter2' }\n",
        "[store]\nkey = { env = 'hunter2', file = 'hunter2' }\n",
        "[store]\nkye = 'hunter2'\n",
        "[store]\nkey = 'hunter2\n",
        "[store]\nmode = 'postgres://ana:hunter2@host/db'\n",
    ] {
        let said = refusal(text, &[]);
        assert!(!said.contains("hunter2"), "{said}");
        assert!(said.starts_with("s.toml:2: "), "{said}");
    }
}

#[test]
fn a_later_check_gets_the_place_of_its_key() {
    let check =
        |config: &Config| vec![Problem::dangling("sinks.hook.url", "route", &config.listen, ["here"])];
    let text = "listen = 'heer'\n[sinks.hook]\nurl = 'u'\n";
    let error = load_checked(Some(("s.toml", text)), &Environment::new(), check).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "s.toml:3: sinks.hook.url = \"heer\": there is no such route; did you mean `here`?"
    );
}

#[test]
fn a_secret_is_read_from_where_it_is_and_missing_ones_are_named() {
    let variables = env(&[("KEY", "hunter2"), ("NONE", "")]);
    let key = SecretSource::Env("KEY".into()).read(&variables).expect("read");
    assert_eq!(key.reveal(), "hunter2");
    for source in [SecretSource::Env("NONE".into()), SecretSource::File("/nowhere/NONE".into())] {
        let said = source.read(&variables).expect_err("missing").to_string();
        assert!(said.contains("NONE"), "{said}");
    }
}

#[test]
fn the_example_file_without_its_marks_is_the_defaults() {
    let example = example_toml::<Config>();
    let bare: String = example
        .lines()
        .map(|line| {
            line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n"
        })
        .collect();
    assert_eq!(
        load::<Config>(Some(("example", &bare)), &Environment::new()),
        Ok(Config::default()),
        "{bare}"
    );
    assert!(bare.contains("sync_wait = \"250ms\"") && example.contains("# [sinks.NAME]"), "{example}");
}

#[test]
fn the_reference_lists_every_key_with_type_default_and_doc() {
    let page = reference_markdown::<Config>();
    for line in [
        "## Top level",
        "| `listen` | text | `\"127.0.0.1:7400\"` | Where to listen. |",
        "## `[store]`",
        "The store.",
        "| `sync_wait` | period (`30s`) | `\"250ms\"` | Longest wait \\| for the disk. |",
        "| `mode` | `\"full\"` or `\"normal\"` | `\"full\"` |  |",
        "| `writers` | whole number, at least 1 | `1` |  |",
        "| `key` | `{ env = \"NAME\" }` or `{ file = \"PATH\" }` | unset |  |",
        "| `tags` | list of text | `[\"a\"]` |  |",
        "## `[sinks.NAME]`",
        "| `url` | text | required | Its address. |",
    ] {
        assert!(page.lines().any(|other| other == line), "no {line:?} in\n{page}");
    }
}

proptest! {
    #[test]
    fn periods_and_sizes_read_back_what_they_write(value in any::<u64>()) {
        let period = Period::from(Duration::from_micros(value));
        prop_assert_eq!(period.to_string().parse(), Ok(period));
        prop_assert_eq!(Size::bytes(value).to_string().parse(), Ok(Size::bytes(value)));
    }

    #[test]
    fn any_text_is_a_configuration_or_an_error(text in "\\PC{0,40}", value in "\\PC{0,20}") {
        let pairs = env(&[("STEADFAST_STORE__TAGS", &value)]);
        if let Err(error) = load::<Config>(Some(("s.toml", &text)), &pairs) {
            prop_assert!(!error.problems.is_empty());
        }
    }
}
