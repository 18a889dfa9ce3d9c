//! Where a packet may be by now, each possibility once and with its probability.

use std::collections::BTreeMap;
use std::collections::btree_map::{Entry, IntoIter};

use super::path::Trail;
use super::{Probability, TraceError, Work};

/// How a possibility came about.
#[derive(Debug, Clone)]
pub(super) struct Way<'t> {
    pub(super) probability: Probability,
    pub(super) trail: Trail<'t>,
    pub(super) work: Work,
}

/// Possibilities that exclude each other.
///
/// Equal ones are merged. That is what keeps a chain that draws twice from multiplying everything
/// that its first draw left equal. Of merged ways the likelier is kept as the explanation.
#[derive(Debug)]
pub(super) struct Weighted<'t, T>(BTreeMap<T, Way<'t>>);

impl<'t, T: Ord> Weighted<'t, T> {
    pub(super) fn certain(value: T) -> Self {
        let way = Way { probability: Probability::ONE, trail: Trail::default(), work: Work::default() };
        Self(BTreeMap::from([(value, way)]))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, value: T, way: Way<'t>) -> Result<(), TraceError> {
        match self.0.entry(value) {
            Entry::Vacant(entry) => drop(entry.insert(way)),
            Entry::Occupied(mut entry) => {
                let present = entry.get_mut();
                let probability = present.probability.or(way.probability)?;
                if way.probability > present.probability {
                    present.trail = way.trail;
                    present.work = way.work;
                }
                present.probability = probability;
            }
        }
        Ok(())
    }

    pub(super) fn add_all(&mut self, others: Self) -> Result<(), TraceError> {
        others.into_iter().try_for_each(|(value, way)| self.add(value, way))
    }

    /// Every possibility moved on; where two become equal they are merged.
    pub(super) fn map(self, change: impl Fn(T) -> T) -> Result<Self, TraceError> {
        let mut changed = Self::default();
        for (value, way) in self {
            changed.add(change(value), way)?;
        }
        Ok(changed)
    }

    /// The kernel did this for every possibility.
    pub(super) fn worked(mut self, work: Work) -> Self {
        self.0.values_mut().for_each(|way| way.work += work);
        self
    }

    /// Those of which `first` holds, and the others.
    pub(super) fn split(self, first: impl Fn(&T) -> bool) -> (Self, Self) {
        let (yes, no) = self.0.into_iter().partition(|(value, _)| first(value));
        (Self(yes), Self(no))
    }
}

impl<T> Default for Weighted<'_, T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'t, T> IntoIterator for Weighted<'t, T> {
    type Item = (T, Way<'t>);
    type IntoIter = IntoIter<T, Way<'t>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
