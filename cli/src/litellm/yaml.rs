//! YAML as JSON.

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// The one document of a file.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    match documents.as_slice() {
        [document] => value(document),
        [] => Err("it is empty".into()),
        _ => Err("it holds several documents".into()),
    }
}

fn value(yaml: &Yaml) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Real(text) => text.parse::<f64>().map_or_else(|_| Value::from(text.as_str()), Value::from),
        Yaml::Integer(number) => Value::from(*number),
        Yaml::String(text) => Value::from(text.as_str()),
        Yaml::Boolean(is) => Value::from(*is),
        Yaml::Array(items) => Value::Array(items.iter().map(value).collect::<Result<_, _>>()?),
        Yaml::Hash(members) => {
            let member = |(name, of): (&Yaml, &Yaml)| {
                let name = match value(name)? {
                    Value::String(name) => name,
                    other => other.to_string(),
                };
                Ok::<_, String>((name, value(of)?))
            };
            Value::Object(members.iter().map(member).collect::<Result<Map<_, _>, _>>()?)
        }
        Yaml::Null => Value::Null,
        Yaml::Alias(_) | Yaml::BadValue => return Err("it refers to something that is not there".into()),
    })
}
