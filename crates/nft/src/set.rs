//! Sets and maps without their elements.

use std::sync::Arc;
use std::time::Duration;

use crate::selector::key_len;
use crate::{Family, Selector};

/// What a set holds for each key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SetData {
    /// Nothing: a plain set.
    None,
    /// A verdict: a verdict map.
    Verdict,
    /// A value, given as what a rule would load to get one: a data map.
    Value(Vec<Selector>),
}

/// A set, verdict map or map.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Set {
    /// The name, unique among the table's sets and maps.
    pub name: Arc<str>,
    /// Its `typeof`: what a rule loads to look something up.
    pub key: Vec<Selector>,
    /// What each key maps to.
    pub data: SetData,
    /// Whether elements are ranges (`flags interval`) rather than single keys.
    pub interval: bool,
    /// Whether rules add elements (`flags dynamic`).
    pub dynamic: bool,
    /// How long an element lives after its last update (`flags timeout`), to the millisecond.
    pub timeout: Option<Duration>,
    /// The most elements it may hold. Without one a dynamic set holds 65,535, others have no limit.
    pub size: Option<u32>,
    /// A remark for the reader of `nft list ruleset`; at most [`crate::COMMENT_MAX`] bytes.
    pub comment: Option<String>,
}

impl Set {
    /// A plain set of single keys.
    pub fn new(name: impl Into<Arc<str>>, key: impl Into<Vec<Selector>>) -> Self {
        Self {
            name: name.into(),
            key: key.into(),
            data: SetData::None,
            interval: false,
            dynamic: false,
            timeout: None,
            size: None,
            comment: None,
        }
    }

    /// A plain set of ranges.
    pub fn intervals(name: impl Into<Arc<str>>, key: impl Into<Vec<Selector>>) -> Self {
        Self { interval: true, ..Self::new(name, key) }
    }

    /// A verdict map.
    pub fn verdict_map(name: impl Into<Arc<str>>, key: impl Into<Vec<Selector>>) -> Self {
        Self { data: SetData::Verdict, ..Self::new(name, key) }
    }

    /// A data map.
    pub fn map(
        name: impl Into<Arc<str>>,
        key: impl Into<Vec<Selector>>,
        data: impl Into<Vec<Selector>>,
    ) -> Self {
        Self { data: SetData::Value(data.into()), ..Self::new(name, key) }
    }

    /// The same set with a comment.
    #[must_use]
    pub fn with_comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// The same set, filled by rules, its elements living for `timeout` after each update.
    #[must_use]
    pub fn filled_by_rules(mut self, timeout: Option<Duration>, size: Option<u32>) -> Self {
        (self.dynamic, self.timeout, self.size) = (true, timeout, size);
        self
    }

    /// `set` or `map`, as nft calls it.
    pub fn noun(&self) -> &'static str {
        match self.data {
            SetData::None => "set",
            SetData::Verdict | SetData::Value(_) => "map",
        }
    }

    /// Whether keys are concatenations.
    pub fn is_concatenated(&self) -> bool {
        self.key.len() > 1
    }

    /// The length of a key, in bytes.
    pub fn key_len(&self, family: Family) -> usize {
        key_len(&self.key, family)
    }

    /// The length of an element's data, in bytes; zero for sets and verdict maps.
    pub fn data_len(&self, family: Family) -> usize {
        match &self.data {
            SetData::None | SetData::Verdict => 0,
            SetData::Value(data) => key_len(data, family),
        }
    }
}
