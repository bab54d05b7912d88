use steadfast_core::World;
use steadfast_models::Models;

use super::*;

const EXAMPLE: &str = include_str!("example.yaml");

#[test]
fn a_configuration_of_litellms_becomes_one_of_ours() {
    let imported = import(EXAMPLE, &Environment::new()).expect("read");
    let models = &imported.config["models"];
    let (providers, routes) = (&models["providers"], &models["routes"]);
    let azure = &providers["azure"];
    assert_eq!(azure["url"].as_str(), Some("https://eu.example.com/openai/deployments/gpt-4o-eu"));
    assert_eq!(azure["query"].as_str(), Some("api-version=2024-08-01-preview"));
    assert_eq!(azure["responses"].as_bool(), Some(false), "a deployment has none");
    assert_eq!(azure["key_header"].as_str(), Some("api-key"));
    assert_eq!(azure["key"]["env"].as_str(), Some("AZURE_EU_KEY"));
    assert_eq!(
        (azure["requests"]["permits"].as_integer(), azure["tokens"]["permits"].as_integer()),
        (Some(300), Some(90_000))
    );
    assert_eq!(azure["timeouts"]["total"].as_str(), Some("12500ms"));
    assert_eq!(providers["azure-2"]["timeouts"]["total"].as_str(), Some("30s"));
    assert_eq!(providers["ollama"]["url"].as_str(), Some("http://10.0.0.7:11434/v1"));
    assert!(providers.get("openai-2").is_none(), "equal settings are one provider");
    let bedrock = &providers["bedrock"];
    assert_eq!(
        (bedrock["kind"].as_str(), bedrock["bedrock"]["region"].as_str()),
        (Some("bedrock"), Some("eu-west-1"))
    );
    assert_eq!(bedrock["bedrock"]["access_key_id"]["env"].as_str(), Some("OUR_KEY_ID"));
    assert_eq!(bedrock["bedrock"]["secret_access_key"]["env"].as_str(), Some("AWS_SECRET_ACCESS_KEY"));
    let cloud = &routes["cloud"]["targets"][0];
    assert_eq!(cloud["model"].as_str(), Some("eu.anthropic.claude-sonnet-4-6"));
    let route = &routes["gpt-4o"];
    assert_eq!(route["order"].as_str(), Some("weight"));
    assert_eq!(route["models"][0].as_str(), Some("gpt-4"));
    let targets: Vec<_> = route["targets"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| (it["provider"].as_str().unwrap_or(""), it.get("weight").and_then(toml::Value::as_integer)))
        .collect();
    assert_eq!(targets, [("azure", Some(3)), ("azure-2", None), ("anthropic", Some(0)), ("ollama", Some(0))]);
    assert_eq!(route["retry"]["waits"].as_array().map(Vec::len), Some(2));
    assert_eq!(routes["any-openai"]["models"][0].as_str(), Some("*"));
    assert!(routes["any-openai"]["targets"][0].get("model").is_none());
    assert_eq!(imported.config["models"]["prices"]["gpt-4o-mini"]["input"].as_str(), Some("0.15"));
}

#[test]
fn what_has_no_counterpart_is_told_and_no_key_is_repeated() {
    let imported = import(EXAMPLE, &Environment::new()).expect("read");
    let text = imported.print();
    for said in [
        "model_list[1] \"gpt-4o\": the key stood in the file; put it into the variable AZURE_API_KEY",
        "model_list[2] \"gpt-4o-mini\": model_info has no counterpart",
        "a provider of kind \"vertex_ai\" has no counterpart",
        "routing_strategy \"usage-based-routing-v2\" has no counterpart",
        "router_settings.redis_host has no counterpart",
        "litellm_settings.drop_params has no counterpart",
        "keys of clients are made by `steadfast keys create` here",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(
        !text.contains("sk-in-the-file") && !text.contains("sk-1234") && !text.contains("aws-in-the-file"),
        "{text}"
    );
}

#[test]
fn what_is_no_such_configuration_is_refused_with_a_reason() {
    for (text, why) in [
        ("", "it is empty"),
        ("model_list: [", "while parsing"),
        ("- a", "expected a mapping"),
        ("router_settings: {}", "there is no model_list"),
        ("model_list: [{ model_name: a }]", "model_list[0].litellm_params is missing"),
        ("model_list: [{ litellm_params: {} }]", "model_list[0].model_name is missing"),
        (
            "model_list: [{ model_name: a, litellm_params: {} }]",
            "model_list[0] \"a\": litellm_params.model is missing",
        ),
    ] {
        let said = import(text, &Environment::new()).expect_err(why);
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn keys_of_the_file_stay_apart_prices_may_stand_beside_and_nobody_is_asked_twice() {
    let imported = import(
        "model_list:
  - model_name: a
    litellm_params: { model: anthropic/claude-sonnet-4-5, api_key: sk-one-one-one }
    model_info: { input_cost_per_token: 0.000001, output_cost_per_token: 0.000002, supports_reasoning: false }
  - model_name: b
    litellm_params: { model: anthropic/claude-sonnet-4-5, api_key: sk-two-two-two, stream_timeout: 3 }
  - model_name: c
    litellm_params: { model: anthropic/claude-opus-4-5, api_key: os.environ/ANTHROPIC_API_KEY }
  - model_name: d
    litellm_params: { model: anthropic/claude-opus-4-5, api_key: sk-one-one-one }
litellm_settings:
  fallbacks: [{ a: [b, c] }, { b: [a] }, { a: [b] }]
",
        &Environment::new(),
    );
    let imported = imported.expect("read");
    let models = &imported.config["models"];
    let mut variables: Vec<_> = models["providers"]
        .as_table()
        .expect("providers")
        .values()
        .map(|provider| provider["key"]["env"].as_str().expect("a variable"))
        .collect();
    variables.sort_unstable();
    assert_eq!(variables, ["ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY_2", "ANTHROPIC_API_KEY_3"]);
    assert_eq!(models["prices"]["claude-sonnet-4-5"]["output"].as_str(), Some("2"));
    assert_eq!(models["prices"]["claude-sonnet-4-5"]["thinks"].as_str(), Some("never"));
    assert_eq!(models["routes"]["a"]["targets"].as_array().map(Vec::len), Some(3));
    let text = imported.print();
    assert!(
        text.contains("\"b\": stream_timeout was left out: `timeouts.first`") && !text.contains("model_info"),
        "{text}"
    );
}

#[test]
fn addresses_come_from_the_variables_that_are_named_or_are_asked_for() {
    let file = "model_list:
  - model_name: a
    litellm_params: { model: azure/gpt-a, api_base: os.environ/AZURE_API_BASE, api_version: os.environ/AZURE_VERSION }
  - model_name: b
    litellm_params: { model: azure/gpt-b }
  - model_name: c
    litellm_params: { model: openai/gpt-c, api_base: os.environ/OPENAI_BASE }
";
    let url = |imported: &Imported, name: &str| {
        imported.config["models"]["providers"][name]["url"].as_str().unwrap_or_default().to_owned()
    };
    let set = [
        ("AZURE_API_BASE", "https://eu.example.com/"),
        ("AZURE_VERSION", "v1"),
        ("OPENAI_BASE", "http://10.0.0.7/v1"),
    ];
    let set = set.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let here = import(file, &set).expect("read");
    assert_eq!(url(&here, "azure"), "https://eu.example.com/openai/deployments/gpt-a");
    assert_eq!(here.config["models"]["providers"]["azure"]["query"].as_str(), Some("api-version=v1"));
    assert_eq!(url(&here, "azure-2"), "https://eu.example.com/openai/deployments/gpt-b");
    assert_eq!(url(&here, "openai"), "http://10.0.0.7/v1");
    let text = here.print();
    assert!(
        text.contains("NOTE model_list[2] \"c\": api_base is what the variable OPENAI_BASE held"),
        "{text}"
    );

    let unset = import(file, &Environment::new()).expect("read");
    let text = unset.print();
    for said in [
        "\"a\": api_base: the variable AZURE_API_BASE is not set",
        "\"c\": api_base: the variable OPENAI_BASE",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("os.environ"), "{text}");
    // What is left to be written is refused until it is.
    let models = unset.config["models"].clone().try_into().expect("ours");
    let keys = [("AZURE_API_KEY", "k"), ("OPENAI_API_KEY", "k")]
        .map(|(name, key)| (name.to_owned(), key.to_owned()));
    let problems = Models::check(&models, "models", &keys.into(), &World::system());
    let fields: Vec<_> = problems.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(fields, ["azure", "azure-2", "openai"].map(|it| format!("models.providers.{it}.url")));
}

#[test]
fn breakers_kept_answers_stand_ins_and_base_models_are_taken_over() {
    let imported = import(
        "model_list:
  - { model_name: a, litellm_params: { model: azure/mine, api_base: 'https://x' }, model_info: { base_model: azure/gpt-4o } }
  - { model_name: b, litellm_params: { model: openai/gpt-4o } }
  - { model_name: '*', litellm_params: { model: openai/* } }
  - { model_name: '*', litellm_params: { model: groq/* } }
router_settings:
  allowed_fails: 2
  cooldown_time: 60
  model_group_alias: { b: a }
  fallbacks: [{ b: [gpt] }]
litellm_settings:
  default_fallbacks: [b]
  cache: true
  cache_params: { type: redis, ttl: 600 }
",
        &Environment::new(),
    );
    let imported = imported.expect("read");
    let models = &imported.config["models"];
    let breaker = &models["providers"]["openai"]["breaker"];
    assert_eq!((breaker["failures"].as_integer(), breaker["open"].as_str()), (Some(3), Some("60s")));
    assert_eq!(models["cache"]["ttl"].as_str(), Some("600s"));
    assert_eq!(models["prices"]["mine"]["input"].as_str(), Some("2.5"));
    let targets = |route: &str| {
        let targets = models["routes"][route]["targets"].as_array().expect("a list");
        targets.iter().map(|it| it["provider"].as_str().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (targets("a"), targets("b")),
        (vec!["azure".into(), "openai".into()], vec!["openai".to_owned()])
    );
    assert_eq!(targets("any-openai"), ["openai", "groq", "openai"]);
    let text = imported.print();
    for said in [
        "router_settings.fallbacks: \"gpt\" is not in model_list",
        "allowed_fails is `breaker.failures`",
        "cache_params.type was left out: answers are kept in the node",
        "model_group_alias.b was left out: model_list has that name",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("no counterpart"), "{text}");
}
