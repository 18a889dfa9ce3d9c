//! Kubernetes objects as they come over the wire, reduced to the fields we use.
//!
//! Everything else is skipped by the parser without being stored: of a usual
//! EndpointSlice more than half is `managedFields` and pod references. Text is
//! borrowed from the input buffer where it holds no escapes, because most of it
//! ends as an address or an interned name a moment later.
//!
//! `null` means "not set" everywhere, as in Kubernetes' own decoder.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, Visitor};

mod endpoints;
mod node;
mod service;

pub(crate) use endpoints::{Conditions, EndpointSlice, Endpoints, ForName, Hints, Subset, SubsetAddress};
pub(crate) use node::{Node, ServiceCidr};
pub(crate) use service::{Ingress, Service, ServicePort, Spec as ServiceSpec};

/// Text that borrows from the input when it can.
///
/// `Cow` alone would not do: inside an `Option` or a `Vec` it always allocates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text)))
    }
}

/// Reads a field where `null` and absence both mean the type's zero value.
///
/// # Errors
/// The value is neither `null` nor a `T`.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// `metadata` of any object.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta<'a> {
    #[serde(borrow)]
    pub(crate) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) namespace: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) resource_version: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) creation_timestamp: Option<Text<'a>>,
    pub(crate) deletion_timestamp: Option<IgnoredAny>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) labels: Labels<'a>,
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) annotations: Annotations<'a>,
}

/// The labels that mean something to a proxy.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Labels<'a> {
    /// Another proxy takes care of the Service, whatever the value.
    #[serde(rename = "service.kubernetes.io/service-proxy-name")]
    pub(crate) service_proxy_name: Option<IgnoredAny>,
    /// The Service that an EndpointSlice belongs to.
    #[serde(borrow, rename = "kubernetes.io/service-name")]
    pub(crate) service_name: Option<Text<'a>>,
    /// The Service of this EndpointSlice or Endpoints object has no cluster IP.
    #[serde(rename = "service.kubernetes.io/headless")]
    pub(crate) headless: Option<IgnoredAny>,
    /// Zone of a Node.
    #[serde(borrow, rename = "topology.kubernetes.io/zone")]
    pub(crate) zone: Option<Text<'a>>,
}

/// The annotations that mean something to a proxy.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Annotations<'a> {
    /// When the change happened that an EndpointSlice or Endpoints object reports.
    #[serde(borrow, rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    pub(crate) trigger_time: Option<Text<'a>>,
    /// On a bookmark: the initial list of a watch ends here (KEP-3157).
    #[serde(rename = "k8s.io/initial-events-end")]
    pub(crate) initial_events_end: Option<IgnoredAny>,
}

/// An object of which only `metadata` matters.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Head<'a> {
    #[serde(borrow, default, deserialize_with = "nullable")]
    pub(crate) metadata: Meta<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_borrows_unless_it_holds_escapes() {
        let plain: Option<Text<'_>> = serde_json::from_str(r#""10.0.0.1""#).unwrap();
        assert!(matches!(plain.unwrap().0, Cow::Borrowed("10.0.0.1")));
        let escaped: Text<'_> = serde_json::from_str(r#""a\u002fb""#).unwrap();
        assert_eq!(&*escaped, "a/b");
    }

    #[test]
    fn null_labels_are_no_labels() {
        let meta: Meta<'_> =
            serde_json::from_str(r#"{"name":"web","labels":null,"annotations":null}"#).unwrap();
        assert!(meta.labels.headless.is_none());
    }

    #[test]
    fn a_null_deletion_timestamp_is_none() {
        let meta: Meta<'_> = serde_json::from_str(r#"{"deletionTimestamp":null}"#).unwrap();
        assert!(meta.deletion_timestamp.is_none());
        let meta: Meta<'_> = serde_json::from_str(r#"{"deletionTimestamp":"2026-11-21T02:05:26Z"}"#).unwrap();
        assert!(meta.deletion_timestamp.is_some());
    }
}
