//! Takes a file apart into objects.
//!
//! Each object is flattened to JSON text before the next one is read, so that a dump
//! of a large cluster never stands in memory as a tree, and so that both sources
//! read objects with the same code.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use tracing::debug;

use crate::decode::Identity;

#[cfg(test)]
mod tests;

/// Largest file taken, in bytes. A dump of 50,000 Services with their slices has about half of it.
pub(super) const MAX_FILE: u64 = 512 << 20;

/// Events that aliases may add to a file. An "alias bomb" of a few hundred bytes
/// expands to billions; honest files share a label block or two.
const MAX_ALIASED_EVENTS: usize = 100_000;

/// Deepest nesting; the deepest object we read has 8 levels.
const MAX_DEPTH: usize = 64;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Yaml,
    Json,
}

impl Syntax {
    /// The syntax that a file of this name is in; nothing when it is no manifest.
    ///
    /// Hidden files and what editors leave behind while they save are none.
    pub(super) fn of(file_name: &str) -> Option<Self> {
        if file_name.starts_with(['.', '#']) {
            return None;
        }
        match file_name.rsplit_once('.')?.1 {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// A file that cannot be taken apart.
#[derive(Debug, thiserror::Error)]
#[error("document {document}: {reason}")]
pub(super) struct Broken {
    /// Which document, counted from 1; empty ones do not count.
    pub(super) document: usize,
    /// What is wrong, with the line when the parser knows it.
    pub(super) reason: String,
}

/// A kind of object that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    EndpointSlice,
    Endpoints,
    Node,
    ServiceCidr,
}

/// An object of a kind that we read.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) kind: Kind,
    pub(super) json: Vec<u8>,
}

/// The objects of all documents of a file, in order.
///
/// # Errors
/// Some document is no YAML or JSON, or goes over a limit.
pub(super) fn objects(syntax: Syntax, content: &[u8]) -> Result<Vec<Manifest>, Broken> {
    match syntax {
        Syntax::Json => collect(serde_json::Deserializer::from_slice(content).into_iter::<Document>()),
        Syntax::Yaml => {
            let mut content = content;
            collect(serde_saphyr::read_with_options(&mut content, limits()))
        }
    }
}

fn collect<E: fmt::Display>(
    documents: impl Iterator<Item = Result<Document, E>>,
) -> Result<Vec<Manifest>, Broken> {
    let mut objects = Vec::new();
    for (index, document) in documents.enumerate() {
        let document = document.map_err(|error| Broken { document: index + 1, reason: error.to_string() })?;
        objects.extend(document.0);
    }
    Ok(objects)
}

/// Plain size is bounded by [`MAX_FILE`] before parsing; here only what can grow out of proportion to it.
fn limits() -> serde_saphyr::Options {
    let mut budget = serde_saphyr::Budget::default();
    budget.max_reader_input_bytes = None;
    budget.max_events = usize::MAX;
    budget.max_nodes = usize::MAX;
    budget.max_documents = usize::MAX;
    budget.max_total_scalar_bytes = usize::MAX;
    budget.max_depth = MAX_DEPTH;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = MAX_ALIASED_EVENTS;
    options.with_snippet = false;
    options
}

/// One document: an object, or a list of them.
struct Document(Vec<Manifest>);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut object = Map::new();
        let mut items = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                items = map.next_value::<Option<Items>>()?;
            } else {
                object.insert(key, map.next_value()?);
            }
        }
        let mut objects = Vec::new();
        match items {
            Some(items) => items.finish(&object, &mut objects),
            None => sort(Value::Object(object), None, &mut objects),
        }
        Ok(Document(objects))
    }
}

/// The elements of a list, read before its kind is known: `items` sorts before `kind`.
#[derive(Default)]
struct Items {
    objects: Vec<Manifest>,
    /// Elements that do not say what they are, as in a `ServiceList`.
    kindless: Vec<Value>,
}

impl Items {
    fn finish(self, list: &Map<String, Value>, objects: &mut Vec<Manifest>) {
        objects.extend(self.objects);
        let kind = list.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"));
        for item in self.kindless {
            sort(item, kind, objects);
        }
    }
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of Kubernetes objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Items, A::Error> {
        let mut items = Items::default();
        while let Some(item) = sequence.next_element::<Value>()? {
            if item.get("kind").is_some() {
                sort(item, None, &mut items.objects);
            } else {
                items.kindless.push(item);
            }
        }
        Ok(items)
    }
}

/// Reads `object` as what it says it is, or else as `kind`.
fn sort(mut object: Value, kind: Option<&str>, objects: &mut Vec<Manifest>) {
    let kind = object.get("kind").and_then(Value::as_str).or(kind).unwrap_or_default().to_owned();
    let kind = match (kind.as_str(), group(&object)) {
        ("Service", "") => Kind::Service,
        ("Endpoints", "") => Kind::Endpoints,
        ("Node", "") => Kind::Node,
        ("EndpointSlice", "" | "discovery.k8s.io") => Kind::EndpointSlice,
        ("ServiceCIDR", "" | "networking.k8s.io") => Kind::ServiceCidr,
        _ => {
            if let Some(Value::Array(items)) = object.get_mut("items").map(Value::take) {
                let kind = kind.strip_suffix("List");
                for item in items {
                    sort(item, kind, objects);
                }
            } else {
                debug!(kind, object = %Identity::of(&object), "skipped an object of another kind");
            }
            return;
        }
    };
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        // Half of what the API server prints, and of no use to anybody who proxies.
        metadata.remove("managedFields");
    }
    objects.push(Manifest { kind, json: object.to_string().into_bytes() });
}

/// API group of an object, empty for the core group and when there is no `apiVersion`:
/// a `Service` of `serving.knative.dev` is not one of ours.
fn group(object: &Value) -> &'static str {
    let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    match version.split_once('/').map_or("", |(group, _)| group) {
        "" => "",
        "discovery.k8s.io" => "discovery.k8s.io",
        "networking.k8s.io" => "networking.k8s.io",
        _ => "other",
    }
}
