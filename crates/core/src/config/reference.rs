//! The reference page and the example file, printed from the schema of the whole
//! configuration, so that neither can say what the code does not.

use std::fmt::Write as _;

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

struct Section {
    /// As in TOML: ``, `[log]`, `[resilience.NAME.retry]`, `[[sinks]]`.
    header: String,
    doc: String,
    rows: Vec<Row>,
    /// Has a name or a number that the operator chooses.
    open: bool,
}

struct Row {
    key: String,
    kind: String,
    /// Null when there is none.
    default: Value,
    required: bool,
    doc: String,
}

/// A Markdown page: per table of the file its keys, types, defaults and doc comments.
pub fn reference_markdown<T: JsonSchema>() -> String {
    let mut page = String::new();
    for section in sections::<T>() {
        let title =
            if section.header.is_empty() { "Top level".into() } else { format!("`{}`", section.header) };
        let _ = write!(page, "## {title}\n\n");
        if !section.doc.is_empty() {
            let _ = write!(page, "{}\n\n", section.doc);
        }
        if !section.rows.is_empty() {
            page.push_str("| key | type | default | what it does |\n| --- | --- | --- | --- |\n");
            for row in &section.rows {
                let default = match (row.required, literal(&row.default)) {
                    (true, _) => "required".into(),
                    (false, None) => "unset".into(),
                    (false, Some(text)) => format!("`{text}`"),
                };
                let cells = [format!("`{}`", row.key), row.kind.clone(), default, row.doc.replace('\n', " ")];
                let _ = writeln!(page, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
            }
            page.push('\n');
        }
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// A TOML file of all keys with their defaults, commented out: `#` at once before a
/// setting, `# ` before prose.
pub fn example_toml<T: JsonSchema>() -> String {
    let mut file = String::new();
    let prose = |file: &mut String, text: &str| {
        for line in text.lines() {
            let _ = writeln!(file, "{}", format!("# {line}").trim_end());
        }
    };
    for section in sections::<T>() {
        if !section.header.is_empty() {
            file.push('\n');
            prose(&mut file, &section.doc);
            let mark = if section.open { "# " } else { "#" };
            let _ = writeln!(file, "{mark}{}", section.header);
        }
        for row in &section.rows {
            prose(&mut file, &row.doc);
            match literal(&row.default) {
                Some(text) if !section.open => {
                    let _ = writeln!(file, "#{} = {text}", row.key);
                }
                Some(text) => prose(&mut file, &format!("{} = {text}", row.key)),
                None => {
                    let need = if row.required { "required" } else { "unset" };
                    prose(&mut file, &format!("{} = … ({}, {need})", row.key, row.kind));
                }
            }
        }
    }
    file.trim_start().to_owned()
}

fn literal(json: &Value) -> Option<String> {
    if json.is_null() { None } else { toml::Value::try_from(json).ok().map(|value| value.to_string()) }
}

fn sections<T: JsonSchema>() -> Vec<Section> {
    let root = Value::from(schema_for!(T));
    let mut all = Vec::new();
    walk(&root, &root, &Value::Null, ("", "", false), &mut all);
    all
}

/// Adds the table `schema` and the tables below it; `at` is its path, the brackets'
/// prefix and whether a name in the path is open.
fn walk(root: &Value, schema: &Value, default: &Value, at: (&str, &str, bool), all: &mut Vec<Section>) {
    let (path, brackets, open) = at;
    let close = if brackets == "[[" { "]]" } else { "]" };
    let header = if path.is_empty() { String::new() } else { format!("{brackets}{path}{close}") };
    let place = all.len();
    all.push(Section { header, doc: doc(schema), rows: Vec::new(), open });
    for (key, property) in resolve(root, schema)["properties"].as_object().into_iter().flatten() {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let default = if default[key].is_null() { &property["default"] } else { &default[key] };
        let inner = resolve(root, property);
        let values = resolve(root, &inner["additionalProperties"]);
        let items = resolve(root, &inner["items"]);
        let with_doc = |inner: &Value| {
            let mut inner = inner.clone();
            if property.get("description").is_some() {
                inner["description"] = property["description"].clone();
            }
            inner
        };
        if is_table(inner) {
            walk(root, &with_doc(inner), default, (&below, "[", open), all);
        } else if is_table(values) {
            let below = format!("{below}.NAME");
            walk(root, &with_doc(values), &Value::Null, (&below, "[", true), all);
        } else if is_table(items) {
            walk(root, &with_doc(items), &Value::Null, (&below, "[[", true), all);
        } else {
            let required = resolve(root, schema)["required"].as_array();
            all[place].rows.push(Row {
                key: key.clone(),
                kind: kind(root, property),
                default: default.clone(),
                required: default.is_null()
                    && required.is_some_and(|names| names.contains(&Value::from(&**key))),
                doc: if doc(property).is_empty() { doc(inner) } else { doc(property) },
            });
        }
    }
    if all[place].rows.is_empty() && all.len() > place + 1 && all[place].doc.is_empty() {
        all.remove(place);
    }
}

fn is_table(schema: &Value) -> bool {
    schema["properties"].is_object() && schema["format"].is_null()
}

fn doc(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().trim().to_owned()
}

/// Follows references, and an option to what it may hold.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(pointer) = schema["$ref"].as_str() {
        return root.pointer(pointer.trim_start_matches('#')).map_or(schema, |target| resolve(root, target));
    }
    let some = |choice: &&Value| choice["type"] != "null";
    match schema["anyOf"].as_array() {
        Some(choices) if choices.len() == 2 => {
            choices.iter().find(some).map_or(schema, |it| resolve(root, it))
        }
        _ => schema,
    }
}

fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    let quote = |value: &Value| format!("`{value}`");
    let constants = |choices: &Vec<Value>| {
        let all = choices.iter().flat_map(|choice| match choice["enum"].as_array() {
            Some(names) => names.iter().map(quote).collect(),
            None => vec![quote(&choice["const"])],
        });
        all.collect::<Vec<_>>().join(" or ")
    };
    if let Some(names) = schema["enum"].as_array() {
        return names.iter().filter(|name| !name.is_null()).map(quote).collect::<Vec<_>>().join(" or ");
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return constants(choices);
    }
    match schema["format"].as_str() {
        Some("period") => return "period (`30s`)".into(),
        Some("size") => return "size (`64MiB`)".into(),
        Some("share") => return "share, 0 to 1".into(),
        Some("secret") => return "`{ env = \"NAME\" }` or `{ file = \"PATH\" }`".into(),
        _ => {}
    }
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().find(|name| *name != "null").and_then(Value::as_str),
        name => name.as_str(),
    };
    match name {
        Some("string") => "text".into(),
        Some("boolean") => "true or false".into(),
        Some("array") => format!("list of {}", kind(root, &schema["items"])),
        Some("object") => format!("table of {}", kind(root, &schema["additionalProperties"])),
        Some("integer") => schema["minimum"]
            .as_u64()
            .filter(|least| *least > 0)
            .map_or("whole number".into(), |least| format!("whole number, at least {least}")),
        Some(other) => other.into(),
        None => "any".into(),
    }
}
