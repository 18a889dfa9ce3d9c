//! Things that several service ports share.

use std::collections::HashMap;
use std::hash::Hash;

/// How often each thing is used.
#[derive(Debug)]
pub(crate) struct Counted<T>(HashMap<T, u32>);

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Copy + Eq + Hash> Counted<T> {
    /// One use more.
    pub(crate) fn add(&mut self, thing: T, when_first: impl FnOnce()) {
        let uses = self.0.entry(thing).or_default();
        *uses += 1;
        if *uses == 1 {
            when_first();
        }
    }

    /// One use less.
    pub(crate) fn remove(&mut self, thing: T, when_last: impl FnOnce()) {
        let Some(uses) = self.0.get_mut(&thing) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.0.remove(&thing);
            when_last();
        }
    }
}
