//! Cuts a list into objects while it arrives.
//!
//! A list is one JSON object whose `items` can be hundreds of megabytes: servers ignore the page size when they answer
//! from their cache. So it is not parsed as a whole. This finds where each element of the top-level `items` begins and
//! ends, passes its bytes on, and keeps the rest, a few hundred bytes with the version and the token of the next page.
//!
//! Invariant: the elements are exactly those that a JSON parser finds in a valid list, wherever the chunks end. Errors
//! inside of an element are left to its parser.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use serde::Deserialize;

use super::MAX_OBJECT;
use crate::api::failure::Failure;

#[cfg(test)]
mod tests;

/// Largest text around the elements, in bytes.
const MAX_ENVELOPE: usize = 1 << 20;

/// Parses one list.
#[derive(Debug, Default)]
pub(in crate::api) struct ListParser {
    string: StringState,
    /// Brackets that are open.
    depth: usize,
    /// Whether the next byte is in the top-level `items`.
    in_items: bool,
    /// The list without its elements.
    envelope: Vec<u8>,
    /// The last string at depth 1, with its closing quote. Before a bracket that is its key.
    key: Vec<u8>,
    /// The part of an element that came with earlier chunks.
    element: Vec<u8>,
}

/// Whether the next byte is part of a string.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum StringState {
    #[default]
    Outside,
    Inside,
    Escaped,
}

impl ListParser {
    /// Takes the next chunk and passes every element that it completes to `take`.
    ///
    /// # Errors
    /// An element, or the text around the elements, is too large; or `take` fails.
    pub(in crate::api) fn feed(
        &mut self,
        chunk: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut start, mut at) = (0, 0);
        while at < chunk.len() {
            if self.string != StringState::Outside {
                at = self.skip_string(chunk, at);
                continue;
            }
            match chunk[at] {
                b'"' => {
                    self.string = StringState::Inside;
                    self.key.clear();
                }
                b'[' if self.depth == 1 && self.key == b"items\"" => {
                    self.envelope.extend_from_slice(&chunk[start..=at]);
                    start = at + 1;
                    self.in_items = true;
                    self.depth += 1;
                }
                b'{' | b'[' => self.depth += 1,
                b',' if self.in_items && self.depth == 2 => {
                    self.complete(&chunk[start..at], &mut take)?;
                    start = at + 1;
                }
                b'}' | b']' => {
                    if self.in_items && self.depth == 2 {
                        self.complete(&chunk[start..at], &mut take)?;
                        start = at;
                        self.in_items = false;
                    }
                    self.depth = self.depth.saturating_sub(1);
                }
                _ => {}
            }
            at += 1;
        }
        let rest = if self.in_items { &mut self.element } else { &mut self.envelope };
        rest.extend_from_slice(&chunk[start..]);
        if self.element.len() > MAX_OBJECT {
            return Err(Failure::invalid(format!("has an object over {} MiB", MAX_OBJECT >> 20)));
        }
        if self.envelope.len() > MAX_ENVELOPE {
            return Err(Failure::invalid("is no list"));
        }
        Ok(())
    }

    /// Reads the text around the elements.
    ///
    /// # Errors
    /// The list is not complete, or it is no list.
    pub(in crate::api) fn finish(self) -> Result<ListMeta, Failure> {
        if self.depth != 0 || self.envelope.is_empty() {
            return Err(Failure::invalid("ends in the middle of the list"));
        }
        let list: List = serde_json::from_slice(&self.envelope)
            .map_err(|error| Failure::invalid(format!("is no list: {error}")))?;
        let mut metadata = list.metadata;
        metadata.resource_version.take_if(|version| version.is_empty());
        metadata.continue_.take_if(|token| token.is_empty());
        Ok(metadata)
    }

    /// Skips to the end of a string, or of the chunk, and returns where that is.
    fn skip_string(&mut self, chunk: &[u8], from: usize) -> usize {
        let mut at = from;
        while at < chunk.len() && self.string != StringState::Outside {
            if self.string == StringState::Escaped {
                self.string = StringState::Inside;
                at += 1;
                continue;
            }
            match memchr::memchr2(b'"', b'\\', &chunk[at..]) {
                None => at = chunk.len(),
                Some(offset) => {
                    at += offset + 1;
                    let is_escape = chunk[at - 1] == b'\\';
                    self.string = if is_escape { StringState::Escaped } else { StringState::Outside };
                }
            }
        }
        if self.depth == 1 {
            self.key.extend_from_slice(&chunk[from..at]);
        }
        at
    }

    /// Passes an element on whose last part is `end`. There is none in an empty list.
    fn complete(
        &mut self,
        end: &[u8],
        take: &mut impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let is_split = !self.element.is_empty();
        if is_split {
            self.element.extend_from_slice(end);
        }
        let element = if is_split { &self.element } else { end }.trim_ascii();
        let result = if element.is_empty() { Ok(()) } else { take(element) };
        self.element.clear();
        result
    }
}

#[derive(Debug, Deserialize)]
struct List {
    #[serde(default)]
    metadata: ListMeta,
    /// Servers always name it, if only as null. An answer without it is no list, and must not count as an empty one.
    #[serde(rename = "items")]
    _items: serde::de::IgnoredAny,
}
