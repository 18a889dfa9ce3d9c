//! Fills types from a tree, strictly and leniently at once.
//!
//! Always holds: what kube-proxy's lenient reader takes is taken, and what its strict one would have
//! complained about (a field nobody knows, one that stands twice, one in another case) is put on a list.
//! Anything else that does not fit its type is an error in both. `null` is as good as nothing everywhere.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::tree::{Node, Value};

/// Why a tree does not fit, with the path of the part that does not and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecodeError {
    message: String,
    /// The innermost value around the fault has put its place in front.
    is_placed: bool,
}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), is_placed: false }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

/// What was decoded, and what a strict reader would have refused.
#[derive(Debug, PartialEq)]
pub(crate) struct Decoded<T> {
    pub(crate) value: T,
    pub(crate) unknown: Vec<String>,
}

/// Decodes a tree whose top fields `ignored` are nobody's.
///
/// # Errors
/// Something has another type than its field.
pub(crate) fn decode<T: DeserializeOwned>(node: &Node, ignored: &[&str]) -> Result<Decoded<T>, DecodeError> {
    let complaints = RefCell::new(Vec::new());
    let place = Place { node, path: String::new(), complaints: &complaints, ignored };
    let value = T::deserialize(place)?;
    Ok(Decoded { value, unknown: complaints.into_inner() })
}

/// A part of the tree, and how to come to it.
#[derive(Clone)]
struct Place<'a> {
    node: &'a Node,
    path: String,
    complaints: &'a RefCell<Vec<String>>,
    /// Fields of the top that are not ours to decode.
    ignored: &'a [&'a str],
}

impl<'a> Place<'a> {
    fn field(&self, name: &str, node: &'a Node) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { node, path, complaints: self.complaints, ignored: &[] }
    }

    fn item(&self, index: usize, node: &'a Node) -> Self {
        let path = format!("{}[{index}]", self.path);
        Self { node, path, complaints: self.complaints, ignored: &[] }
    }

    fn complain(&self, what: &str, name: &str) {
        let field = self.field(name, self.node).path;
        self.complaints.borrow_mut().push(format!("{what} field \"{field}\""));
    }

    /// Puts the place in front of a fault, unless a place further inside has done so.
    fn placed<T>(&self, result: Result<T, DecodeError>) -> Result<T, DecodeError> {
        result.map_err(|error| {
            if error.is_placed {
                return error;
            }
            let message = format!("line {}: {}: {}", self.node.line, self.path, error.message);
            DecodeError { message, is_placed: true }
        })
    }

    /// The pairs of a mapping that say something, each key once with its last value.
    fn pairs(&self, pairs: &'a [(String, Node)], known: Option<&[&str]>) -> Vec<(&'a str, Place<'a>)> {
        let mut places: Vec<(&str, Place<'_>)> = Vec::new();
        for (name, node) in pairs {
            if self.ignored.contains(&name.as_str()) {
                continue;
            }
            if known.is_some_and(|known| !known.contains(&name.as_str())) {
                self.complain("unknown", name);
                continue;
            }
            if let Some(earlier) = places.iter().position(|(other, _)| other == name) {
                self.complain("duplicate", name);
                places.remove(earlier);
            }
            places.push((name, self.field(name, node)));
        }
        places.retain(|(_, place)| place.node.value != Value::Null);
        places
    }

    fn map<'de, V: Visitor<'de>>(&self, known: Option<&[&str]>, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Map(pairs) => {
                let mut places = self.pairs(pairs, known);
                places.reverse();
                visitor.visit_map(Pairs { places, value: None })
            }
            Value::Null => visitor.visit_map(Pairs { places: Vec::new(), value: None }),
            _ => Err(self.wrong_type("a mapping")),
        }
    }

    fn wrong_type(&self, wanted: &str) -> DecodeError {
        let found = match &self.node.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a switch",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        };
        de::Error::custom(format_args!("{found} stands where {wanted} should"))
    }
}

impl<'de> Deserializer<'de> for Place<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(switch) => visitor.visit_bool(*switch),
            Value::Int(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(_) => return self.deserialize_seq(visitor),
            Value::Map(_) => self.map(None, visitor),
        };
        self.placed(result)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let result = match &self.node.value {
            Value::Bool(switch) => visitor.visit_bool(*switch),
            _ => Err(self.wrong_type("true or false")),
        };
        self.placed(result)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let number = match &self.node.value {
            Value::Int(number) => i32::try_from(*number).ok(),
            // Past JSON a number without a fraction is whole, however it was written.
            Value::Float(number) => whole(*number),
            _ => return self.placed(Err(self.wrong_type("a whole number"))),
        };
        let result = match number {
            Some(number) => visitor.visit_i32(number),
            None => Err(de::Error::custom("not a whole number of 32 bits")),
        };
        self.placed(result)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let result = match &self.node.value {
            Value::Int(number) => match u32::try_from(*number) {
                Ok(number) => visitor.visit_u32(number),
                Err(_) => Err(de::Error::custom("not a whole number from 0 to 4294967295")),
            },
            _ => Err(self.wrong_type("a whole number")),
        };
        self.placed(result)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let number = match &self.node.value {
            #[expect(clippy::cast_precision_loss, reason = "what was asked for is a number of 32 bits")]
            Value::Int(number) => *number as f64,
            Value::Float(number) => *number,
            _ => return self.placed(Err(self.wrong_type("a number"))),
        };
        let result = if number.abs() <= f64::from(f32::MAX) {
            visitor.visit_f64(number)
        } else {
            Err(de::Error::custom("not a number of 32 bits"))
        };
        self.placed(result)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let result = match &self.node.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Null => visitor.visit_str(""),
            _ => Err(self.wrong_type("text")),
        };
        self.placed(result)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let result = match &self.node.value {
            Value::List(items) => {
                let places = items.iter().enumerate().map(|(index, node)| self.item(index, node));
                visitor.visit_seq(de::value::SeqDeserializer::new(places))
            }
            _ => Err(self.wrong_type("a list")),
        };
        self.placed(result)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.placed(self.map(None, visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.placed(self.map(Some(fields), visitor))
    }

    forward_to_deserialize_any! {
        i8 i16 i64 i128 u8 u16 u64 u128 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum
        identifier ignored_any
    }
}

impl IntoDeserializer<'_, DecodeError> for Place<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A number of 32 bits without a fraction.
fn whole(number: f64) -> Option<i32> {
    let fits = number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number);
    #[expect(clippy::cast_possible_truncation, reason = "it has been seen to fit")]
    fits.then_some(number as i32)
}

/// The pairs of a mapping, the first one last.
struct Pairs<'a> {
    places: Vec<(&'a str, Place<'a>)>,
    value: Option<Place<'a>>,
}

impl<'de> de::MapAccess<'de> for Pairs<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Some((name, place)) = self.places.pop() else { return Ok(None) };
        self.value = Some(place);
        seed.deserialize(StrDeserializer::<DecodeError>::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        match self.value.take() {
            Some(place) => seed.deserialize(place),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}
