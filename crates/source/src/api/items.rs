//! Cuts a list into objects while it arrives.
//!
//! A list is one JSON object whose `items` can be hundreds of megabytes: servers
//! ignore the page size when they answer from their cache. So the text is not parsed
//! as a whole. This finds where each element of the top-level `items` begins and
//! ends, hands its bytes on, and keeps what stands around them, a few hundred bytes
//! with the version and the token of the next page.
//!
//! Holds: the elements handed on are exactly those a JSON parser would find in a
//! valid list, wherever the pieces are cut. What is wrong inside of an element is
//! left to whoever parses it.

use serde::Deserialize;

use super::failure::Failure;
use super::lines::MAX_OBJECT;

#[cfg(test)]
mod tests;

/// Largest text around the elements, in bytes.
const MAX_ENVELOPE: usize = 1 << 20;

/// What a list says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ListMeta {
    /// Version of the collection that the list shows.
    pub(super) version: Option<String>,
    /// Leads to the next page, if there is one.
    pub(super) token: Option<String>,
}

/// Cuts one list.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    place: Place,
    text: Text,
    /// Brackets that are open: in the list, or in the element.
    depth: usize,
    /// The list without its elements.
    envelope: Vec<u8>,
    /// The last string of the envelope at depth 1; before a bracket that is its key.
    last_string: (usize, usize),
    /// The part of an element that came with earlier pieces.
    element: Vec<u8>,
}

/// Where in the list the next byte is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Around the elements.
    #[default]
    Envelope,
    /// Between two elements.
    Between,
    /// In an element that is an object, a list or a string.
    Element,
    /// In an element that is something else, which ends where the next byte says.
    Word,
}

/// Whether the next byte is part of a string.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    Escaped,
}

impl Splitter {
    /// Takes the next piece and hands every element that it completes to `take`.
    ///
    /// # Errors
    /// An element, or what stands around them, is too large.
    pub(super) fn feed(&mut self, piece: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), Failure> {
        let mut start = 0;
        let mut at = 0;
        while at < piece.len() {
            if self.text != Text::Outside {
                at = self.skip_string(piece, at);
                if self.text == Text::Outside && self.place == Place::Element && self.depth == 0 {
                    self.complete(&piece[start..at], &mut take);
                    start = at;
                }
                continue;
            }
            match self.place {
                Place::Envelope => self.envelope_byte(piece[at]),
                Place::Between => self.between_byte(piece[at]),
                Place::Element | Place::Word => {
                    if self.element_byte(piece[at]) {
                        // A word ends before the byte that ends it, which is looked at again.
                        let end = if self.place == Place::Word { at } else { at + 1 };
                        self.complete(&piece[start..end], &mut take);
                        start = end;
                        at = end;
                        continue;
                    }
                }
            }
            at += 1;
            if matches!(self.place, Place::Envelope | Place::Between) {
                start = at;
            } else if start == at {
                start = at - 1;
            }
        }
        if matches!(self.place, Place::Element | Place::Word) {
            self.element.extend_from_slice(&piece[start..]);
        }
        self.check_sizes()
    }

    /// Reads what stood around the elements.
    ///
    /// # Errors
    /// The list is not complete, or no list.
    pub(super) fn finish(self) -> Result<ListMeta, Failure> {
        if self.place != Place::Envelope || self.depth != 0 || self.envelope.is_empty() {
            return Err(Failure::garbled("ends in the middle of the list"));
        }
        let list: List = serde_json::from_slice(&self.envelope)
            .map_err(|error| Failure::garbled(format!("is no list: {error}")))?;
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(ListMeta { version: filled(list.metadata.version), token: filled(list.metadata.token) })
    }

    fn envelope_byte(&mut self, byte: u8) {
        self.envelope.push(byte);
        match byte {
            b'"' => self.open_string(),
            b'[' if self.depth == 1 && &self.envelope[self.last_string.0..self.last_string.1] == b"items" => {
                self.place = Place::Between;
                self.depth = 0;
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn between_byte(&mut self, byte: u8) {
        match byte {
            b',' | b' ' | b'\t' | b'\r' | b'\n' => {}
            b']' => {
                self.envelope.push(byte);
                self.place = Place::Envelope;
                self.depth = 1;
            }
            b'"' => {
                self.place = Place::Element;
                self.text = Text::Inside;
            }
            b'{' | b'[' => {
                self.place = Place::Element;
                self.depth = 1;
            }
            _ => self.place = Place::Word,
        }
    }

    /// True when the element ends here.
    fn element_byte(&mut self, byte: u8) -> bool {
        match (self.place, byte) {
            (Place::Word, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n') => return true,
            (Place::Word, _) => {}
            (_, b'"') => self.text = Text::Inside,
            (_, b'{' | b'[') => self.depth += 1,
            (_, b'}' | b']') => {
                self.depth -= 1;
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }

    fn open_string(&mut self) {
        self.text = Text::Inside;
        if self.depth == 1 {
            self.last_string = (self.envelope.len(), self.envelope.len());
        }
    }

    /// Goes on to the end of a string, or of the piece; where that is.
    fn skip_string(&mut self, piece: &[u8], from: usize) -> usize {
        let mut at = from;
        while at < piece.len() && self.text != Text::Outside {
            if self.text == Text::Escaped {
                self.text = Text::Inside;
                at += 1;
                continue;
            }
            match memchr::memchr2(b'"', b'\\', &piece[at..]) {
                None => at = piece.len(),
                Some(offset) => {
                    at += offset + 1;
                    self.text = if piece[at - 1] == b'\\' { Text::Escaped } else { Text::Outside };
                }
            }
        }
        if self.place == Place::Envelope {
            self.envelope.extend_from_slice(&piece[from..at]);
            if self.text == Text::Outside && self.depth == 1 {
                self.last_string.1 = self.envelope.len() - 1;
            }
        }
        at
    }

    fn complete(&mut self, end: &[u8], take: &mut impl FnMut(&[u8])) {
        if self.element.is_empty() {
            take(end);
        } else {
            self.element.extend_from_slice(end);
            take(&self.element);
            self.element.clear();
        }
        self.place = Place::Between;
    }

    fn check_sizes(&self) -> Result<(), Failure> {
        if self.element.len() > MAX_OBJECT {
            return Err(Failure::garbled(format!("has an object over {} MiB", MAX_OBJECT >> 20)));
        }
        if self.envelope.len() > MAX_ENVELOPE {
            return Err(Failure::garbled("is no list"));
        }
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
struct List {
    #[serde(default)]
    metadata: Metadata,
    /// Servers always name it, if only as null. An answer without is no list, and above all not an empty one.
    #[serde(rename = "items")]
    _items: serde::de::IgnoredAny,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(rename = "resourceVersion")]
    version: Option<String>,
    #[serde(rename = "continue")]
    token: Option<String>,
}
