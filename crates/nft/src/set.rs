//! Sets and maps without their elements.

use std::sync::Arc;
use std::time::Duration;

use crate::selector::key_len;
use crate::{Element, ElementValue, Family, Selector, userdata};

/// The kind of value in a set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SetData {
    /// Nothing: a plain set.
    None,
    /// A verdict: a verdict map.
    Verdict,
    /// A value, given as what a rule would load to get one: a data map.
    Value(Vec<Selector>),
}

/// How long a set's elements live after they were added or last updated.
///
/// The kernel counts in ticks of its own, of which whole seconds are always a multiple; other
/// durations may read back up to ten milliseconds longer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SetTimeout {
    /// For ever.
    #[default]
    None,
    /// As long as the rule ([`Statement::UpdateMap`]) or [`Element`] that adds one specifies; for ever, if
    /// it specifies nothing (`flags timeout`).
    ///
    /// [`Statement::UpdateMap`]: crate::Statement::UpdateMap
    /// [`Element`]: crate::Element
    PerElement,
    /// This long, unless a rule specifies another time (`flags timeout; timeout 3h`). At least a millisecond.
    Default(Duration),
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
    /// How long elements live.
    pub timeout: SetTimeout,
    /// The most elements it may hold. Without one a dynamic set holds 65,535, others have no limit.
    /// An element that has expired counts until the kernel has cleared it away, which it does
    /// about once a second.
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
            timeout: SetTimeout::None,
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

    /// The same set, filled by rules.
    #[must_use]
    pub fn filled_by_rules(mut self, timeout: SetTimeout, size: Option<u32>) -> Self {
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

    /// Checks that `element` fits this set. Elements to delete have no value.
    pub(crate) fn check(&self, element: &Element, family: Family) -> Result<(), &'static str> {
        let length = self.key_len(family);
        if element.key.len() != length || element.key_end.as_ref().is_some_and(|end| end.len() != length) {
            return Err("its key has not the length of the set's");
        }
        if element.key_end.is_some() && !self.interval {
            return Err("the set holds no ranges");
        }
        let fits = match (&element.value, &self.data) {
            (ElementValue::None, _) | (ElementValue::Verdict(_), SetData::Verdict) => true,
            (ElementValue::Data(data), SetData::Value(_)) => data.len() == self.data_len(family),
            _ => false,
        };
        if !fits {
            return Err("its value is not what the set holds");
        }
        if element.comment.as_deref().is_some_and(|comment| !userdata::is_comment(comment)) {
            return Err("its comment is too long, or has characters nft cannot print");
        }
        Ok(())
    }
}
