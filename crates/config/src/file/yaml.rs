//! YAML and JSON as a tree of values with their lines; JSON is YAML.
//!
//! kube-proxy converts YAML to JSON before it decodes a configuration, so a scalar without quotes has the type that
//! YAML 1.1 gives it: `on`, `0x1f` and `017` are not strings. Mappings keep their order and duplicate keys.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Error, MessageFormatter as _, Options, Spanned, UserMessageFormatter};

/// More than any configuration needs; aliases of aliases could otherwise grow without bound.
const MAX_EVENTS: usize = 50_000;

/// A value and where it is.
pub(crate) type Node = Spanned<Value>;

/// A YAML value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A stream of documents.
#[derive(Debug, PartialEq)]
pub(crate) struct Documents {
    /// The first document; `Null` if there is none.
    pub(crate) first: Node,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// Reads YAML or JSON.
///
/// # Errors
/// The text is neither, or exceeds a limit; the message is one line and names the line of the file.
pub(crate) fn parse(text: &str) -> Result<Documents, String> {
    let mut options = Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::LastWins;
    options.legacy_octal_numbers = true;
    options.with_snippet = false;
    options.alias_limits.max_total_replayed_events = MAX_EVENTS;
    let mut bytes = text.as_bytes();
    let mut documents = serde_saphyr::read_with_options::<_, Node>(&mut bytes, options);
    let first = documents.next().transpose().map_err(|error| describe(&error))?;
    let unknown = serde_saphyr::Location::UNKNOWN;
    let nothing = Spanned { value: Value::Null, referenced: unknown, defined: unknown };
    Ok(Documents { first: first.unwrap_or(nothing), more: documents.next().is_some() })
}

fn describe(error: &Error) -> String {
    let reason = UserMessageFormatter.format_message(error.without_snippet()).replace('\n', " ");
    match error.location() {
        Some(location) => format!("line {}: {reason}", location.line()),
        None => reason,
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "no field has numbers of this size")]
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    /// JSON does not tell 5.0 from 5.
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.to_string().parse().map_or(Value::Float(value), Value::Int))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = pairs.next_key::<String>()? {
            map.push((key, pairs.next_value()?));
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests;
