//! Log messages are constant sentences: what varies goes into fields, where the list of
//! shown names decides. This reads the source of the whole workspace and says which do not.

use std::{fs, path::Path};

const MACROS: [&str; 5] = ["error!(", "warn!(", "info!(", "debug!(", "trace!("];

/// The arguments of a macro call that starts at `text`, up to its closing bracket.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    let mut all = vec![String::new()];
    for c in text.chars() {
        let last = all.len() - 1;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all[last].push(c);
    }
    all.iter().map(|argument| argument.trim().to_owned()).filter(|it| !it.is_empty()).collect()
}

/// What is wrong with the log calls in `source`, tests apart.
fn faults(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut faults = Vec::new();
    for name in MACROS {
        for (at, _) in source.match_indices(name) {
            let line = source[..at].rfind('\n').map_or(0, |start| start + 1);
            let inside_a_word = source[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if inside_a_word || source[line..at].trim_start().starts_with("//") {
                continue;
            }
            let arguments = arguments(&source[at + name.len()..]);
            let constant = arguments.last().is_some_and(|last| {
                last.starts_with('"') && last.ends_with('"') && !last.replace("{{", "").contains('{')
            });
            let named = arguments.iter().any(|argument| argument.starts_with("message"));
            if !constant || named {
                faults.push(format!("{name}{}", arguments.join(", ")));
            }
        }
    }
    faults
}

fn check(folder: &Path, found: &mut Vec<String>, seen: &mut usize) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("tests") && !path.ends_with("target") {
            check(&path, found, seen);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            *seen += 1;
            let source = fs::read_to_string(&path).expect("source reads");
            found.extend(faults(&source).into_iter().map(|fault| format!("{}: {fault}", path.display())));
        }
    }
}

#[test]
fn every_log_message_is_a_constant_sentence() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut found, mut seen) = (Vec::new(), 0);
    for folder in ["crates", "apps", "cli"] {
        check(&root.join(folder), &mut found, &mut seen);
    }
    assert!(seen > 20, "only {seen} files were read");
    assert!(found.is_empty(), "put what varies into fields:\n{}", found.join("\n"));
}

#[test]
fn a_message_that_varies_is_found() {
    for bad in [
        r#"info!("sent {amount}");"#,
        r#"tracing::warn!(run_id, "sent {}", amount);"#,
        "error!(text);",
        r#"debug!(message = text, "x");"#,
    ] {
        assert_eq!(faults(bad).len(), 1, "{bad}");
    }
    assert_eq!(faults(r#"tracing::info!(run_id = %id(a, "b"), "Braces {{}} are text.")"#), [""; 0]);
}
