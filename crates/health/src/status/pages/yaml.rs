//! Writes JSON values as YAML, with every string in quotes, so that none is taken for
//! something else: `1.36`, `no`, and `~` are strings in these pages.

use std::fmt::Write as _;

use serde_json::Value;

/// A document. Keys come in order of name where the map keeps them so.
pub(crate) fn document(value: &Value) -> String {
    let mut text = String::new();
    block(&mut text, value, 0);
    text
}

/// Writes a value that starts on a line of its own.
fn block(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                // A string in JSON's quotes is one in YAML, too.
                let _infallible = write!(text, "{:indent$}{}:", "", Value::from(name.as_str()));
                nested(text, value, indent + 2);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let _infallible = write!(text, "{:indent$}-", "");
                nested(text, item, indent + 2);
            }
        }
        scalar => {
            let _infallible = writeln!(text, "{:indent$}{scalar}", "");
        }
    }
}

/// Writes a value after a key or a dash: what has parts of its own goes below.
fn nested(text: &mut String, value: &Value, indent: usize) {
    let is_empty =
        value.as_object().is_none_or(serde_json::Map::is_empty) && value.as_array().is_none_or(Vec::is_empty);
    if is_empty {
        text.push(' ');
        block(text, value, 0);
    } else {
        text.push('\n');
        block(text, value, indent);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_stay_strings_and_parts_are_indented() {
        let value = json!({
            "kind": "Flagz",
            "metadata": {"name": "kube-proxy"},
            "flags": {"no": "~", "quoted": "a \"b\"\n"},
            "none": {},
            "paths": ["/a", "/b"],
            "uptime": 7,
        });
        let expected = "\"flags\":\n  \"no\": \"~\"\n  \"quoted\": \"a \\\"b\\\"\\n\"\n\"kind\": \"Flagz\"\n\
                        \"metadata\":\n  \"name\": \"kube-proxy\"\n\"none\": {}\n\
                        \"paths\":\n  - \"/a\"\n  - \"/b\"\n\"uptime\": 7\n";
        assert_eq!(document(&value), expected);
    }
}
