//! Decodes one object and, when that fails, finds out which one it is and where the error is.
//!
//! A valid object is parsed once. Only after a failure it is parsed again with the path recorded, and once more without
//! a schema, so that the error can name it.

use std::fmt;

use serde::de::Deserialize;
use serde_json::Value;

use crate::convert::{Converted, Converter, Resource};
use crate::wire::{Metadata, Text};

/// An object that does not have the form of its kind.
///
/// Nothing is known of it beyond its name; the last good version remains in effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name} is malformed at {field}: {reason}")]
pub(crate) struct Malformed {
    /// Its kind, as Kubernetes spells it.
    pub(crate) kind: &'static str,
    /// Which one it is.
    pub(crate) name: PartialName,
    /// Path of the field that could not be read, such as `spec.ports[0].port`.
    pub(crate) field: String,
    /// What is wrong with that field.
    pub(crate) reason: String,
}

/// As much of an object's name as could be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PartialName {
    /// `metadata.namespace`.
    pub(crate) namespace: Option<Box<str>>,
    /// `metadata.name`.
    pub(crate) name: Option<Box<str>>,
    /// `metadata.resourceVersion`.
    pub(crate) version: Option<Box<str>>,
}

/// `namespace/name`, `name`, or a note that there is none.
impl fmt::Display for PartialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(self.name.as_deref().unwrap_or("(without a name)"))
    }
}

impl From<&Metadata<'_>> for PartialName {
    fn from(metadata: &Metadata<'_>) -> Self {
        let owned = |field: &Option<Text<'_>>| {
            let text = field.as_deref().filter(|text| !text.is_empty());
            text.map(Box::from)
        };
        Self {
            namespace: owned(&metadata.namespace),
            name: owned(&metadata.name),
            version: owned(&metadata.resource_version),
        }
    }
}

impl PartialName {
    /// Reads `metadata` as far as it is text; any other shape counts as absent.
    pub(crate) fn of(object: &Value) -> Self {
        let text = |field: &str| object.get("metadata")?.get(field)?.as_str().map(Box::from);
        Self { namespace: text("namespace"), name: text("name"), version: text("resourceVersion") }
    }
}

/// Decodes and converts an object. Returns its wire form as well.
///
/// # Errors
/// As [`object_from_json`], or the object lacks a name.
pub(crate) fn decode<'a, T: Resource>(
    json: &'a [u8],
    converter: &mut Converter,
) -> Result<(Converted<T>, T::Wire<'a>), Malformed> {
    let wire = object_from_json(T::KIND, json)?;
    Ok((T::convert(converter, &wire)?, wire))
}

/// Decodes an object from JSON text.
///
/// # Errors
/// The text is no JSON, or some field that we use has another type.
pub(crate) fn object_from_json<'a, T: Deserialize<'a>>(
    kind: &'static str,
    json: &'a [u8],
) -> Result<T, Malformed> {
    serde_json::from_slice(json).or_else(|_| {
        // Slower; the result is the same, but the error has the path.
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(json)).map_err(|error| {
            let name =
                serde_json::from_slice(json).map(|object| PartialName::of(&object)).unwrap_or_default();
            Malformed { kind, name, field: error.path().to_string(), reason: json_reason(error.inner()) }
        })
    })
}

/// The message of an error in JSON text, without its position, which the caller replaces, and without Rust's types.
pub(crate) fn json_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    plain_reason(text.strip_suffix(&place).unwrap_or(&text))
}

/// The message of a deserializer, with what it expected in Kubernetes' terms.
pub(crate) fn plain_reason(message: &str) -> String {
    // The value that was found comes first and may be any text.
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let expected = match expected {
        "u8" => "a number from 0 to 255",
        "u16" => "a number from 0 to 65535",
        "i32" => "a whole number of 32 bits",
        "a sequence" => "a list",
        "a map" => "an object",
        "a boolean" => "true or false",
        named if named.starts_with("struct ") => "an object",
        other => other,
    };
    format!("{found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire;

    #[test]
    fn an_error_names_the_object_and_the_field() {
        let json = br#"{"metadata":{"namespace":"shop","name":"cart"},"spec":{"ports":[{"port":"eighty"}]}}"#;
        let error = object_from_json::<wire::Service<'_>>("Service", json).unwrap_err();
        assert_eq!(error.name.to_string(), "shop/cart");
        assert_eq!(error.field, "spec.ports[0].port");
        assert_eq!(error.reason, "invalid type: string \"eighty\", expected a number from 0 to 65535");
    }

    #[test]
    fn errors_name_no_types_of_rust_and_no_place_in_a_copy_of_the_object() {
        let reason = |patch: serde_json::Value| {
            let json = serde_json::to_vec(&patch).unwrap();
            let error = object_from_json::<wire::Service<'_>>("Service", &json).unwrap_err();
            format!("{}: {}", error.field, error.reason)
        };
        let cases = [
            (json!({"spec": "x"}), "spec: invalid type: string \"x\", expected an object"),
            (json!({"spec": {"ports": {}}}), "spec.ports: invalid type: map, expected a list"),
            (json!({"spec": {"ports": [{}]}}), "spec.ports[0]: missing field `port`"),
            (
                json!({"spec": {"ports": [{"port": 70000}]}}),
                "spec.ports[0].port: invalid value: integer `70000`, expected a number from 0 to 65535",
            ),
            (
                json!({"spec": {"ports": [{"port": -1}]}}),
                "spec.ports[0].port: invalid value: integer `-1`, expected a number from 0 to 65535",
            ),
            (
                json!({"spec": {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": ", expected u16"}}}}),
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: invalid type: string \", expected u16\", \
                 expected a whole number of 32 bits",
            ),
            (
                json!({"spec": {"clusterIP": 7}}),
                "spec.clusterIP: invalid type: integer `7`, expected a string",
            ),
        ];
        for (object, expected) in cases {
            assert_eq!(reason(object), expected);
        }
    }

    #[test]
    fn text_that_is_no_json_has_no_name() {
        let error =
            object_from_json::<wire::Node<'_>>("Node", b"{\"metadata\":{\"name\":\"n1\"").unwrap_err();
        assert!(error.to_string().starts_with("Node (without a name) is malformed"), "{error}");
    }

    #[test]
    fn a_name_of_the_wrong_type_is_a_malformed_field() {
        let json = br#"{"metadata":{"namespace":"shop","name":7}}"#;
        let error = object_from_json::<wire::Service<'_>>("Service", json).unwrap_err();
        assert_eq!(
            (error.name.to_string().as_str(), error.field.as_str()),
            ("shop/(without a name)", "metadata.name")
        );
    }
}
