//! Decodes a tree of values into types, as kube-proxy's lenient decoder does, and lists what its strict decoder rejects.
//!
//! A serde format of its own rather than serde-saphyr's or serde_json's, because both accept what kube-proxy rejects:
//! a list for a struct, and serde-saphyr also a quoted number for a number. `null` means unset.

use std::cell::RefCell;
use std::fmt::Display;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::yaml::{Node, Value};

/// Why a value does not fit its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct DecodeError {
    message: String,
    /// The message begins with the line and the path of the value.
    has_place: bool,
}

impl de::Error for DecodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self { message: message.to_string(), has_place: false }
    }

    fn invalid_type(found: Unexpected<'_>, want: &dyn Expected) -> Self {
        Self { message: mismatch(found, want), has_place: false }
    }

    fn invalid_value(found: Unexpected<'_>, want: &dyn Expected) -> Self {
        Self::invalid_type(found, want)
    }
}

/// The text of a type error, without names of Rust's types.
fn mismatch(found: Unexpected<'_>, want: &dyn Expected) -> String {
    let found = match found {
        Unexpected::Unit => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        scalar => scalar.to_string(),
    };
    let want = want.to_string();
    let want = match want.as_str() {
        "i32" => "a 32-bit integer",
        "u32" => "an unsigned 32-bit integer",
        "f32" => "a number",
        "a sequence" => "a list",
        "a map" => "a mapping",
        other => other,
    };
    format!("found {found}, want {want}")
}

/// Decodes `node`; also returns what a strict decoder rejects: unknown and duplicate fields.
///
/// # Errors
/// A value does not have the type of its field; the message names line and field.
pub(crate) fn decode<T: DeserializeOwned>(node: &Node) -> Result<(T, Vec<String>), DecodeError> {
    let violations = RefCell::new(Vec::new());
    let value = T::deserialize(Place { node, path: String::new(), violations: &violations })?;
    Ok((value, violations.into_inner()))
}

/// A value and its path.
struct Place<'a> {
    node: &'a Node,
    path: String,
    violations: &'a RefCell<Vec<String>>,
}

impl<'a> Place<'a> {
    fn field(&self, name: &str, node: &'a Node) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { node, path, violations: self.violations }
    }

    fn item(&self, index: usize, node: &'a Node) -> Self {
        Self { node, path: format!("{}[{index}]", self.path), violations: self.violations }
    }

    /// The fields of a mapping that are `known` and set, each once with its last value.
    fn fields(
        &self,
        pairs: &'a [(String, Node)],
        known: Option<&[&str]>,
    ) -> MapDeserializer<'a, impl Iterator<Item = (&'a str, Self)>, DecodeError> {
        let mut fields: Vec<(&str, Self)> = Vec::new();
        for (name, node) in pairs {
            let field = self.field(name, node);
            let is_unknown = known.is_some_and(|known| !known.contains(&name.as_str()));
            let earlier = fields.iter().position(|(other, _)| other == name);
            if is_unknown || earlier.is_some() {
                let violation = if is_unknown { "unknown" } else { "duplicate" };
                self.violations.borrow_mut().push(format!("{violation} field {:?}", field.path));
            }
            if let Some(earlier) = earlier {
                fields.remove(earlier);
            }
            if !is_unknown {
                fields.push((name, field));
            }
        }
        fields.retain(|(_, field)| field.node.value != Value::Null);
        MapDeserializer::new(fields.into_iter())
    }

    /// Adds the place to an error, unless a value inside this one has done so.
    fn located<T>(&self, result: Result<T, DecodeError>) -> Result<T, DecodeError> {
        result.map_err(|error| {
            if error.has_place {
                return error;
            }
            let message = format!("line {}: {}: {}", self.node.defined.line(), self.path, error.message);
            DecodeError { message, has_place: true }
        })
    }
}

impl<'de> Deserializer<'de> for Place<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.located(match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(value) => visitor.visit_str(value),
            Value::List(items) => {
                let items = items.iter().enumerate().map(|(index, node)| self.item(index, node));
                visitor.visit_seq(SeqDeserializer::new(items))
            }
            Value::Map(pairs) => visitor.visit_map(self.fields(pairs, None)),
        })
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Float(value) if value.is_nan() || value.abs() > f64::from(f32::MAX) => {
                self.located(Err(de::Error::invalid_value(Unexpected::Float(value), &"a 32-bit number")))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let result = match &self.node.value {
            Value::Map(pairs) => visitor.visit_map(self.fields(pairs, Some(known))),
            Value::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &"a mapping")),
            _ => return self.deserialize_any(visitor),
        };
        self.located(result)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, DecodeError> for Place<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
