//! The configuration as YAML and JSON, the way kube-proxy writes its own.
//!
//! YAML has its keys in alphabetical order and its text without quotes where no reader could take it
//! for something else; with double quotes where it would be a number, a switch or nothing; with
//! single quotes where it has signs that mean something. Readers of YAML 1.1, which kube-proxy is,
//! take `on`, `0x1` and `1_000` for other things than text as well, so those are quoted too.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use super::KubeProxyConfiguration;
use crate::file::scalar::{self, Scalar};

/// The only key of the object at `/configz`.
const CONFIGZ_KEY: &str = "kubeproxy.config.k8s.io";

impl KubeProxyConfiguration {
    /// The file that says this.
    pub(crate) fn to_yaml(&self) -> String {
        let mut yaml = String::new();
        if let Value::Object(fields) = self.document().to_json() {
            mapping(&mut yaml, &fields, 0);
        }
        yaml
    }

    /// The object at `/configz`, its fields in the order of the file.
    pub(crate) fn to_configz(&self) -> String {
        // Text keys and plain values: there is nothing in it that JSON could not say.
        let body = serde_json::to_string(&self.document()).unwrap_or_default();
        format!("{{\"{CONFIGZ_KEY}\":{body}}}")
    }
}

/// Any value as JSON.
pub(crate) trait ToJson {
    fn to_json(&self) -> Value;
}

impl<T: Serialize> ToJson for T {
    fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn mapping(yaml: &mut String, fields: &Map<String, Value>, indent: usize) {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in fields {
        // Writing to a String cannot fail, here and below.
        let _ = write!(yaml, "{:indent$}{}:", "", text(name));
        entry(yaml, value, indent);
    }
}

/// What stands behind a key.
fn entry(yaml: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            yaml.push('\n');
            mapping(yaml, fields, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            yaml.push('\n');
            for item in items {
                let _ = write!(yaml, "{:indent$}-", "");
                item_of_list(yaml, item, indent);
            }
        }
        plain => {
            let _ = writeln!(yaml, " {}", leaf(plain));
        }
    }
}

/// A mapping begins on the line of its dash, so its first key loses its indent.
fn item_of_list(yaml: &mut String, item: &Value, indent: usize) {
    match item {
        Value::Object(fields) if !fields.is_empty() => {
            let mut lines = String::new();
            mapping(&mut lines, fields, indent + 2);
            let _ = write!(yaml, " {}", lines.trim_start());
        }
        other => entry(yaml, other, indent),
    }
}

fn leaf(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(switch) => switch.to_string(),
        Value::Number(number) => match number.as_f64().filter(|number| number.fract() == 0.0) {
            // 5.0 is 5.
            Some(whole) => whole.to_string(),
            None => number.to_string(),
        },
        Value::String(words) => text(words),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
    }
}

fn text(words: &str) -> String {
    if scalar::resolve(words) != Scalar::Text {
        // Nothing in such words needs an escape.
        format!("\"{words}\"")
    } else if words.chars().any(|c| c.is_control() || !c.is_ascii()) {
        Value::from(words).to_string()
    } else if is_plain(words) {
        words.to_owned()
    } else {
        format!("'{}'", words.replace('\'', "''"))
    }
}

/// Whether these words of printable ASCII need no quotes.
fn is_plain(words: &str) -> bool {
    // Signs that begin something else than text (YAML 1.2.2, section 5.3), and those that are text alone.
    let opens = words.starts_with([
        '-', '?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`', '=',
        ' ', '.', '~', '<',
    ]);
    let closes = words.ends_with([' ', ':']);
    !opens && !closes && !words.contains(": ") && !words.contains(" #")
}
