//! How many service ports want one thing, for things that they share.
//!
//! Ports of a Service share its address, Services may share endpoints. Such a thing comes with the first that
//! wants it and goes with the last.

use std::collections::HashMap;
use std::hash::Hash;

/// Counts, and what has changed since they were last settled.
#[derive(Debug)]
pub(crate) struct Tally<T> {
    counts: HashMap<T, u32>,
    before: HashMap<T, bool>,
}

impl<T> Default for Tally<T> {
    fn default() -> Self {
        Self { counts: HashMap::new(), before: HashMap::new() }
    }
}

/// What came and what went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Net<T> {
    pub(crate) came: Vec<T>,
    pub(crate) went: Vec<T>,
}

impl<T: Copy + Eq + Hash + Ord> Tally<T> {
    /// One more wants it.
    pub(crate) fn add(&mut self, thing: T) {
        let count = self.counts.entry(thing).or_insert(0);
        self.before.entry(thing).or_insert(*count > 0);
        *count += 1;
    }

    /// One less does.
    pub(crate) fn remove(&mut self, thing: T) {
        let Some(count) = self.counts.get_mut(&thing) else { return };
        self.before.entry(thing).or_insert(true);
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&thing);
        }
    }

    /// Whether anybody wants it.
    pub(crate) fn has(&self, thing: &T) -> bool {
        self.counts.contains_key(thing)
    }

    /// All that is wanted.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.counts.keys()
    }

    /// What has changed since the last time, in order.
    pub(crate) fn settle(&mut self) -> Net<T> {
        let mut net = Net { came: Vec::new(), went: Vec::new() };
        for (thing, was_there) in std::mem::take(&mut self.before) {
            match (was_there, self.counts.contains_key(&thing)) {
                (false, true) => net.came.push(thing),
                (true, false) => net.went.push(thing),
                _ => {}
            }
        }
        net.came.sort_unstable();
        net.went.sort_unstable();
        net
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_comes_with_the_first_and_goes_with_the_last_that_wants_it() {
        let mut tally = Tally::default();
        tally.add('a');
        tally.add('a');
        tally.add('b');
        assert_eq!(tally.settle(), Net { came: vec!['a', 'b'], went: vec![] });
        tally.remove('a');
        assert_eq!(tally.settle(), Net { came: vec![], went: vec![] });
        tally.remove('a');
        // Moved from one to another, and never there.
        tally.remove('b');
        tally.add('b');
        tally.remove('c');
        assert_eq!(tally.settle(), Net { came: vec![], went: vec!['a'] });
        assert!(tally.has(&'b') && !tally.has(&'a'));
    }
}
