//! Reads one object and, when that fails, finds out which one it was and where.
//!
//! The good path parses once. Only after a failure is the object parsed again with
//! the path recorded and once more without a schema, so that the error can name it.

use std::fmt;

use serde::de::Deserialize;
use serde_json::Value;

/// An object that does not have the shape Kubernetes gives its kind.
///
/// Nothing is known of it beyond its name; the state it had before stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name} is malformed at {field}: {reason}")]
pub struct Malformed {
    /// Its kind, as Kubernetes spells it.
    pub kind: &'static str,
    /// Which one it is.
    pub name: Identity,
    /// Path of the field that could not be read, such as `spec.ports[0].port`.
    pub field: String,
    /// What is wrong with that field.
    pub reason: String,
}

/// As much of an object's name as could be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// `metadata.namespace`.
    pub namespace: Option<Box<str>>,
    /// `metadata.name`.
    pub name: Option<Box<str>>,
    /// `metadata.resourceVersion`.
    pub(crate) version: Option<Box<str>>,
}

/// `namespace/name`, or `name`, or a word that says there is none.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(self.name.as_deref().unwrap_or("(without a name)"))
    }
}

impl Identity {
    /// Reads `metadata` as far as it is text; any other shape counts as absent.
    pub(crate) fn of(object: &Value) -> Self {
        let text = |field: &str| object.get("metadata")?.get(field)?.as_str().map(Box::from);
        Self { namespace: text("namespace"), name: text("name"), version: text("resourceVersion") }
    }
}

/// Reads an object from JSON text.
///
/// # Errors
/// The text is no JSON, or some field that we use has another type.
pub(crate) fn object_from_json<'a, T: Deserialize<'a>>(
    kind: &'static str,
    json: &'a [u8],
) -> Result<T, Malformed> {
    serde_json::from_slice(json).or_else(|_| {
        // Again, slowly: the answer is the same, but the error says where.
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(json)).map_err(|error| {
            let name = serde_json::from_slice(json).map(|object| Identity::of(&object)).unwrap_or_default();
            malformed(kind, name, &error)
        })
    })
}

fn malformed(
    kind: &'static str,
    name: Identity,
    error: &serde_path_to_error::Error<serde_json::Error>,
) -> Malformed {
    Malformed { kind, name, field: error.path().to_string(), reason: error.inner().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn an_error_names_the_object_and_the_field() {
        let json = br#"{"metadata":{"namespace":"shop","name":"cart"},"spec":{"ports":[{"port":"eighty"}]}}"#;
        let error = object_from_json::<wire::Service<'_>>("Service", json).unwrap_err();
        assert_eq!(error.name.to_string(), "shop/cart");
        assert_eq!(error.field, "spec.ports[0].port");
        assert!(error.reason.contains("eighty"), "{error}");
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
