//! Splits a file into objects.
//!
//! Each object becomes JSON text before the next one is read, so that a dump of a large cluster is never in memory as a
//! tree, and so that both sources decode objects with the same code.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

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
/// expands to billions; ordinary files share a label block or two.
const MAX_ALIASED_EVENTS: usize = 100_000;

/// Deepest nesting; the deepest object we read has 8 levels.
const MAX_DEPTH: usize = 64;

/// The syntax of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Yaml,
    Json,
}

impl Syntax {
    /// The syntax of a file with this name; nothing when it is no manifest, as hidden files and those that editors
    /// make while they save.
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

/// A position in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Location {
    /// The document, from 1, without empty ones.
    pub(super) document: usize,
    /// The line of the file, from 1; zero when the parser does not know it.
    pub(super) line: u64,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {}, line {}", self.document, self.line)
    }
}

/// A file that cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(super) struct ParseError {
    /// Where the parser stopped.
    pub(super) location: Location,
    /// What is wrong.
    pub(super) reason: String,
}

/// The kinds that are read from manifests, with their `apiVersion` in the API.
const KINDS: [(&str, &str); 5] = [
    ("Service", "v1"),
    ("Endpoints", "v1"),
    ("Node", "v1"),
    ("EndpointSlice", "discovery.k8s.io/v1"),
    ("ServiceCIDR", "networking.k8s.io/v1"),
];

/// An object of a kind that is read.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) kind: &'static str,
    pub(super) json: Vec<u8>,
    /// Where it starts.
    pub(super) location: Location,
    /// An `apiVersion` that the API does not have for the kind, with the one that is used instead.
    pub(super) version: Option<(String, &'static str)>,
}

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// The objects of kinds that are read, in order.
    pub(super) objects: Vec<Manifest>,
    /// The others by kind: where the first is, and how many there are.
    pub(super) others: BTreeMap<String, (Location, usize)>,
}

/// Splits all documents of a file.
///
/// # Errors
/// A document is no YAML or JSON, or exceeds a limit.
pub(super) fn parse(syntax: Syntax, content: &[u8]) -> Result<Parsed, ParseError> {
    match syntax {
        Syntax::Json => parse_json(content),
        Syntax::Yaml => parse_yaml(content),
    }
}

fn parse_yaml(mut content: &[u8]) -> Result<Parsed, ParseError> {
    let all = content;
    let mut parsed = Parsed::default();
    let documents = serde_saphyr::read_with_options::<_, Spanned<Document<Items>>>(&mut content, limits());
    for (document, found) in (1..).zip(documents) {
        let Spanned { value: Document { fields, items }, defined, .. } =
            found.map_err(|error| yaml_error(all, document, &error))?;
        let location = |line| Location { document, line };
        let fields = Value::Object(fields);
        match items {
            None => parsed.add(fields, None, location(defined.line())),
            Some(items) => {
                parsed.append(items.found, document);
                for item in items.without_kind {
                    parsed.add(item.value, list_kind(&fields), location(item.defined.line()));
                }
            }
        }
    }
    Ok(parsed)
}

fn parse_json(content: &[u8]) -> Result<Parsed, ParseError> {
    let mut parsed = Parsed::default();
    let mut lines = Lines { content, offset: 0, line: 1 };
    let documents = serde_json::Deserializer::from_slice(content).into_iter::<&RawValue>();
    for (document, raw) in (1..).zip(documents) {
        // Lines of errors count from the first of the text that was read.
        let broken = |first: u64, error: &serde_json::Error| ParseError {
            location: Location { document, line: first + (error.line() as u64).saturating_sub(1) },
            reason: json_reason(error),
        };
        let raw = raw.map_err(|error| broken(1, &error))?;
        let line = lines.of(raw);
        let Document::<Vec<&RawValue>> { fields, items } =
            serde_json::from_str(raw.get()).map_err(|error| broken(line, &error))?;
        let fields = Value::Object(fields);
        match items {
            None => parsed.add(fields, None, Location { document, line }),
            Some(items) => {
                for item in items {
                    let line = lines.of(item);
                    let item = serde_json::from_str(item.get()).map_err(|error| broken(line, &error))?;
                    parsed.add(item, list_kind(&fields), Location { document, line });
                }
            }
        }
    }
    Ok(parsed)
}

/// Counts lines up to positions that only increase.
struct Lines<'a> {
    content: &'a [u8],
    offset: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line on which a part of the content starts.
    fn of(&mut self, part: &RawValue) -> u64 {
        let offset = part.get().as_ptr().addr().saturating_sub(self.content.as_ptr().addr());
        let between = self.content.get(self.offset..offset).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', between).count() as u64;
        self.offset = self.offset.max(offset);
        self.line
    }
}

fn yaml_error(content: &[u8], document: usize, error: &serde_saphyr::Error) -> ParseError {
    use serde_saphyr::Error;
    let mut line = error.location().map_or(0, |location| location.line());
    let reason = match error.without_snippet() {
        // The parser's message names its types and settings.
        Error::Budget { .. } => "is nested too deeply or too large".to_owned(),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => "its aliases expand to too much".to_owned(),
        // The content is in memory, so only its encoding can be wrong.
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
    ParseError { location: Location { document, line }, reason }
}

/// [`MAX_FILE`] limits the size before parsing; these limit what can grow out of proportion to it.
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
struct Document<I> {
    fields: Map<String, Value>,
    items: Option<I>,
}

impl<'de, I: Deserialize<'de>> Deserialize<'de> for Document<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DocumentVisitor(PhantomData))
    }
}

struct DocumentVisitor<I>(PhantomData<I>);

impl<'de, I: Deserialize<'de>> Visitor<'de> for DocumentVisitor<I> {
    type Value = Document<I>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document<I>, A::Error> {
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
    /// Those with a kind. Their locations have no document yet.
    found: Parsed,
    /// Those without, as in a `ServiceList`.
    without_kind: Vec<Spanned<Value>>,
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
                items.found.add(item.value, None, Location { document: 0, line: item.defined.line() });
            } else {
                items.without_kind.push(item);
            }
        }
        Ok(items)
    }
}

/// The kind of the elements of a list.
fn list_kind(list: &Value) -> Option<&str> {
    list.get("kind").and_then(Value::as_str)?.strip_suffix("List")
}

impl Parsed {
    /// Adds what another part of the same file holds, in this document.
    fn append(&mut self, other: Self, document: usize) {
        let location = |location: Location| Location { document, ..location };
        self.objects.extend(
            other
                .objects
                .into_iter()
                .map(|object| Manifest { location: location(object.location), ..object }),
        );
        for (kind, (first, count)) in other.others {
            self.others.entry(kind).or_insert((location(first), 0)).1 += count;
        }
    }

    /// Adds an object of its own kind, or else of `kind`.
    fn add(&mut self, mut object: Value, kind: Option<&str>, location: Location) {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let own_kind = Some(text("kind")).filter(|kind| !kind.is_empty());
        let kind = own_kind.or(kind).unwrap_or_default();
        let given = text("apiVersion");
        let is_kind =
            |(name, version): &(&str, &str)| *name == kind && [group(version), ""].contains(&group(given));
        if let Some((kind, version)) = KINDS.into_iter().find(is_kind) {
            // Elements of a list need not repeat it.
            let is_right = given.is_empty() || given == version;
            let version = (!is_right).then(|| (given.to_owned(), version));
            if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
                // Half of what the API server prints, and not used by a proxy.
                metadata.remove("managedFields");
            }
            let json = object.to_string().into_bytes();
            self.objects.push(Manifest { kind, json, location, version });
            return;
        }
        let name = if given.is_empty() { kind.to_owned() } else { format!("{given} {kind}") };
        if let Some(Value::Array(items)) = object.get_mut("items").map(Value::take) {
            let kind = list_kind(&object).map(str::to_owned);
            for item in items {
                self.add(item, kind.as_deref(), location);
            }
        } else {
            self.others.entry(name).or_insert((location, 0)).1 += 1;
        }
    }
}

/// API group of an `apiVersion`, empty for the core group: a `Service` of `serving.knative.dev` is another kind.
fn group(version: &str) -> &str {
    version.split_once('/').map_or("", |(group, _)| group)
}
