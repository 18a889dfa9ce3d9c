//! YAML as a tree, before anybody says what should be in it.
//!
//! The tree keeps what a decoder into types throws away and a strict reader has to complain
//! about: keys that stand twice, on which line things are, whether a word had quotes. JSON is YAML.
//!
//! Always holds: the tree is no greater than [`MOST_NODES`], however often a file refers to its own parts.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use crate::file::scalar::{self, Scalar};

/// More than any configuration can need; aliases of aliases would otherwise grow without end.
const MOST_NODES: usize = 50_000;
/// Deeper than any configuration.
const DEEPEST: usize = 64;

/// A piece of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// The line that it begins on, from 1.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// What a piece of a document is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file, keys that stand twice included.
    Map(Vec<(String, Node)>),
}

/// A stream of documents.
#[derive(Debug, PartialEq)]
pub(crate) struct Documents {
    /// The first; `Null` if there is none.
    pub(crate) first: Node,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// Why text is no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TreeError(String);

/// Reads YAML or JSON.
///
/// # Errors
/// The text is neither, or goes over a limit; the message says on which line.
pub(crate) fn parse(text: &str) -> Result<Documents, TreeError> {
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder {
        events: Parser::new_from_str_with_options(text, options),
        anchors: BTreeMap::new(),
        nodes: 0,
    };
    builder.documents()
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    /// How many there are by now.
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn documents(&mut self) -> Result<Documents, TreeError> {
        let mut first = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => break,
                (Event::DocumentStart(..), _) if first.is_some() => {
                    return Ok(Documents { first: first.unwrap_or(NOTHING), more: true });
                }
                (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
                (event, span) => first = Some(self.node(event, span, 0)?),
            }
        }
        Ok(Documents { first: first.unwrap_or(NOTHING), more: false })
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), TreeError> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(TreeError(error.to_string())),
            None => Err(TreeError("the document ends too early".to_owned())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, TreeError> {
        let line = span.start.line();
        self.count(1, line)?;
        if depth > DEEPEST {
            return Err(at(line, "nested too deeply"));
        }
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.alias(anchor, line),
            Event::Scalar(words, style, anchor, tag) => (anchor, scalar_value(&words, style, tag.as_deref())),
            Event::SequenceStart(_, anchor, _) => (anchor, self.list(depth)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.map(depth)?),
            other => return Err(at(line, &format!("{other:?} is out of place"))),
        };
        let node = Node { line, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, more: usize, line: usize) -> Result<(), TreeError> {
        self.nodes += more;
        if self.nodes > MOST_NODES { Err(at(line, "there is too much in this document")) } else { Ok(()) }
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<Node, TreeError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(at(line, "an alias refers to what it is part of"));
        };
        self.count(node.size(), line)?;
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, TreeError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, TreeError> {
        let mut pairs = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = match self.next()? {
                (Event::MappingEnd, _) => break,
                pair => pair,
            };
            let is_merge = matches!(&event, Event::Scalar(word, ScalarStyle::Plain, ..) if word == "<<");
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            if is_merge {
                merged.extend(pairs_of(value)?);
            } else {
                pairs.push((key_of(key)?, value));
            }
        }
        merged.retain(|(key, _)| pairs.iter().all(|(own, _)| own != key));
        pairs.extend(merged);
        Ok(Value::Map(pairs))
    }
}

const NOTHING: Node = Node { line: 1, value: Value::Null };

fn at(line: usize, what: &str) -> TreeError {
    TreeError(format!("line {line}: {what}"))
}

fn scalar_value(words: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
    if style != ScalarStyle::Plain || is_text {
        return Value::Text(words.to_owned());
    }
    match scalar::resolve(words) {
        Scalar::Null => Value::Null,
        Scalar::Bool(switch) => Value::Bool(switch),
        Scalar::Int(number) => Value::Int(number),
        Scalar::Float(number) => Value::Float(number),
        Scalar::Text => Value::Text(words.to_owned()),
    }
}

/// A key as JSON has it: text, whatever it would stand for.
fn key_of(node: Node) -> Result<String, TreeError> {
    match node.value {
        Value::Text(text) => Ok(text),
        Value::Null => Ok("null".to_owned()),
        Value::Bool(switch) => Ok(switch.to_string()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::List(_) | Value::Map(_) => Err(at(node.line, "a key cannot be a list or a mapping")),
    }
}

/// What `<<: *name` puts in: the pairs of a mapping, or of several, of which the first counts.
fn pairs_of(node: Node) -> Result<Vec<(String, Node)>, TreeError> {
    match node.value {
        Value::Map(pairs) => Ok(pairs),
        Value::List(maps) => {
            let mut all: Vec<(String, Node)> = Vec::new();
            for map in maps {
                let pairs = pairs_of(map)?;
                let new = |pair: &(String, Node)| all.iter().all(|(key, _)| *key != pair.0);
                let pairs: Vec<_> = pairs.into_iter().filter(new).collect();
                all.extend(pairs);
            }
            Ok(all)
        }
        _ => Err(at(node.line, "only a mapping can be merged into one")),
    }
}

impl Node {
    /// How many nodes it is made of.
    fn size(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Node::size).sum(),
            Value::Map(pairs) => pairs.iter().map(|(_, node)| node.size()).sum(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests;
