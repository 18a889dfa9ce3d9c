//! Takes a file apart into objects.
//!
//! Each object is flattened to JSON text before the next one is read, so that a dump
//! of a large cluster never stands in memory as a tree, and so that both sources
//! read objects with the same code.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use serde_saphyr::{MessageFormatter as _, Spanned, UserMessageFormatter};

use crate::decode::{json_reason, plain_reason};

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

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// The document, from 1; empty ones do not count.
    pub(super) document: usize,
    /// The line of the file, from 1; zero when the parser does not know it.
    pub(super) line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {}, line {}", self.document, self.line)
    }
}

/// A file that cannot be taken apart.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Broken {
    /// Where the parser gave up.
    pub(super) place: Place,
    /// What is wrong.
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

impl Kind {
    /// The kind of this name, and the `apiVersion` that it has in the API.
    fn of(name: &str) -> Option<(Self, &'static str)> {
        Some(match name {
            "Service" => (Self::Service, "v1"),
            "Endpoints" => (Self::Endpoints, "v1"),
            "Node" => (Self::Node, "v1"),
            "EndpointSlice" => (Self::EndpointSlice, "discovery.k8s.io/v1"),
            "ServiceCIDR" => (Self::ServiceCidr, "networking.k8s.io/v1"),
            _ => return None,
        })
    }
}

/// An object of a kind that we read.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) kind: Kind,
    pub(super) json: Vec<u8>,
    /// Where it begins.
    pub(super) place: Place,
    /// An `apiVersion` that the API does not have for the kind, with the one that it is read as.
    pub(super) version: Option<(String, &'static str)>,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// The objects of kinds that we read, in order.
    pub(super) objects: Vec<Manifest>,
    /// The others by what they say they are: where the first is, and how many there are.
    pub(super) others: BTreeMap<String, (Place, usize)>,
}

/// Takes a file apart, all documents of it.
///
/// # Errors
/// Some document is no YAML or JSON, or goes over a limit.
pub(super) fn parse(syntax: Syntax, content: &[u8]) -> Result<Parsed, Broken> {
    match syntax {
        Syntax::Json => parse_json(content),
        Syntax::Yaml => parse_yaml(content),
    }
}

fn parse_yaml(mut content: &[u8]) -> Result<Parsed, Broken> {
    let all = content;
    let mut parsed = Parsed::default();
    let documents = serde_saphyr::read_with_options::<_, Spanned<Document>>(&mut content, limits());
    for (document, found) in (1..).zip(documents) {
        let Spanned { value: Document { fields, items }, defined, .. } =
            found.map_err(|error| broken_yaml(all, document, &error))?;
        let place = |line| Place { document, line };
        let fields = Value::Object(fields);
        match items {
            None => parsed.add(fields, None, place(defined.line())),
            Some(items) => {
                parsed.append(items.found, document);
                let kind = list_kind(&fields);
                for item in items.kindless {
                    parsed.add(item.value, kind, place(item.defined.line()));
                }
            }
        }
    }
    Ok(parsed)
}

fn parse_json(content: &[u8]) -> Result<Parsed, Broken> {
    let mut parsed = Parsed::default();
    let mut lines = Lines { content, offset: 0, line: 1 };
    let documents = serde_json::Deserializer::from_slice(content).into_iter::<&RawValue>();
    for (document, raw) in (1..).zip(documents) {
        // Lines of errors count from the first of the piece that was read.
        let broken = |first: u64, error: &serde_json::Error| Broken {
            place: Place { document, line: first + (error.line() as u64).saturating_sub(1) },
            reason: json_reason(error),
        };
        let raw = raw.map_err(|error| broken(1, &error))?;
        let line = lines.of(raw);
        let fields: BTreeMap<String, &RawValue> =
            serde_json::from_str(raw.get()).map_err(|error| broken(line, &error))?;
        let items = match fields.get("items") {
            None => None,
            Some(items) => {
                let line = lines.of(items);
                serde_json::from_str::<Option<Vec<&RawValue>>>(items.get())
                    .map_err(|error| broken(line, &error))?
            }
        };
        match items {
            None => {
                let object = serde_json::from_str(raw.get()).map_err(|error| broken(line, &error))?;
                parsed.add(object, None, Place { document, line });
            }
            Some(items) => {
                let kind =
                    fields.get("kind").and_then(|kind| serde_json::from_str::<String>(kind.get()).ok());
                let kind = kind.as_deref().and_then(|kind| kind.strip_suffix("List"));
                for item in items {
                    let line = lines.of(item);
                    let item = serde_json::from_str(item.get()).map_err(|error| broken(line, &error))?;
                    parsed.add(item, kind, Place { document, line });
                }
            }
        }
    }
    Ok(parsed)
}

/// Counts lines up to places that are asked for from front to back.
struct Lines<'a> {
    content: &'a [u8],
    offset: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line on which a piece of the content begins.
    fn of(&mut self, piece: &RawValue) -> u64 {
        let offset = piece.get().as_ptr().addr().saturating_sub(self.content.as_ptr().addr());
        let between = self.content.get(self.offset..offset).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', between).count() as u64;
        self.offset = self.offset.max(offset);
        self.line
    }
}

fn broken_yaml(content: &[u8], document: usize, error: &serde_saphyr::Error) -> Broken {
    use serde_saphyr::Error;
    let mut line = error.location().map_or(0, |location| location.line());
    let reason = match error.without_snippet() {
        // What stands there names types and settings of the parser.
        Error::Budget { .. } => "is nested too deeply or too large".to_owned(),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => "its aliases expand to too much".to_owned(),
        // The content is in memory: all that can be wrong with reading it is its encoding.
        Error::IOError { .. } => {
            if let Err(error) = str::from_utf8(content) {
                line = 1 + memchr::memchr_iter(b'\n', &content[..error.valid_up_to()]).count() as u64;
            }
            "is not valid UTF-8".to_owned()
        }
        Error::Unexpected { expected: "sequence start", .. } => "expected a list".to_owned(),
        Error::Unexpected { expected: "mapping start", .. } => "expected a Kubernetes object".to_owned(),
        error => plain_reason(&UserMessageFormatter.format_message(error)),
    };
    Broken { place: Place { document, line }, reason }
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

/// One document of YAML: an object, or a list of them.
struct Document {
    fields: Map<String, Value>,
    items: Option<Items>,
}

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
        let mut document = Document { fields: Map::new(), items: None };
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                document.items = map.next_value()?;
            } else {
                document.fields.insert(key, map.next_value()?);
            }
        }
        Ok(document)
    }
}

/// The elements of a list, read before its kind is known: `items` sorts before `kind`.
#[derive(Default)]
struct Items {
    /// Those that say what they are. Their places name no document yet.
    found: Parsed,
    /// Those that do not, as in a `ServiceList`.
    kindless: Vec<Spanned<Value>>,
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
        while let Some(item) = sequence.next_element::<Spanned<Value>>()? {
            if item.value.get("kind").is_some() {
                items.found.add(item.value, None, Place { document: 0, line: item.defined.line() });
            } else {
                items.kindless.push(item);
            }
        }
        Ok(items)
    }
}

/// What the elements of a list are.
fn list_kind(list: &Value) -> Option<&str> {
    list.get("kind").and_then(Value::as_str)?.strip_suffix("List")
}

impl Parsed {
    /// Takes in what another part of the same file holds, in this document.
    fn append(&mut self, other: Self, document: usize) {
        let place = |place: Place| Place { document, ..place };
        self.objects.extend(
            other.objects.into_iter().map(|object| Manifest { place: place(object.place), ..object }),
        );
        for (kind, (first, count)) in other.others {
            self.others.entry(kind).or_insert((place(first), 0)).1 += count;
        }
    }

    /// Takes in an object as what it says it is, or else as `kind`.
    fn add(&mut self, mut object: Value, kind: Option<&str>, place: Place) {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let own_kind = Some(text("kind")).filter(|kind| !kind.is_empty());
        let kind = own_kind.or(kind).unwrap_or_default();
        let given = text("apiVersion");
        let known = Kind::of(kind).filter(|(_, version)| [group(version), ""].contains(&group(given)));
        if let Some((kind, version)) = known {
            // Elements of a list need not repeat it.
            let is_right = given.is_empty() || given == version;
            let version = (!is_right).then(|| (given.to_owned(), version));
            if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
                // Half of what the API server prints, and of no use to anybody who proxies.
                metadata.remove("managedFields");
            }
            let json = object.to_string().into_bytes();
            self.objects.push(Manifest { kind, json, place, version });
            return;
        }
        let name = if given.is_empty() { kind.to_owned() } else { format!("{given} {kind}") };
        if let Some(Value::Array(items)) = object.get_mut("items").map(Value::take) {
            let kind = list_kind(&object).map(str::to_owned);
            for item in items {
                self.add(item, kind.as_deref(), place);
            }
        } else {
            self.others.entry(name).or_insert((place, 0)).1 += 1;
        }
    }
}

/// API group of an `apiVersion`, empty for the core group: a `Service` of `serving.knative.dev` is not one of ours.
fn group(version: &str) -> &str {
    version.split_once('/').map_or("", |(group, _)| group)
}
