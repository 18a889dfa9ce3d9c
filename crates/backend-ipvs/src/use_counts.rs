//! Reference counts of objects that several service ports use.
//!
//! Ports of a Service share its address, and Services may share endpoints. Such an object is added with its first user
//! and removed with its last.

use std::collections::HashMap;
use std::hash::Hash;

/// Counts, and the changes since they were last settled.
#[derive(Debug)]
pub(crate) struct UseCounts<T> {
    counts: HashMap<T, u32>,
    before: HashMap<T, bool>,
}

impl<T> Default for UseCounts<T> {
    fn default() -> Self {
        Self { counts: HashMap::new(), before: HashMap::new() }
    }
}

/// Objects that were added and removed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Net<T> {
    pub(crate) came: Vec<T>,
    pub(crate) went: Vec<T>,
}

impl<T: Clone + Eq + Hash + Ord> UseCounts<T> {
    /// The object exists, whether it has users or not.
    pub(crate) fn exists(&mut self, thing: T) {
        self.before.insert(thing, true);
    }

    /// Adds a user.
    pub(crate) fn add(&mut self, thing: T) {
        let count = self.counts.entry(thing.clone()).or_insert(0);
        self.before.entry(thing).or_insert(*count > 0);
        *count += 1;
    }

    /// Removes a user.
    pub(crate) fn remove(&mut self, thing: T) {
        let Some(count) = self.counts.get_mut(&thing) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&thing);
        }
        self.before.entry(thing).or_insert(true);
    }

    /// Whether it has a user.
    pub(crate) fn has(&self, thing: &T) -> bool {
        self.counts.contains_key(thing)
    }

    /// All objects with users.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.counts.keys()
    }

    /// The changes since the last call, in order.
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
    fn an_object_comes_with_its_first_user_and_goes_with_its_last() {
        let mut use_counts = UseCounts::default();
        use_counts.add('a');
        use_counts.add('a');
        use_counts.add('b');
        assert_eq!(use_counts.settle(), Net { came: vec!['a', 'b'], went: vec![] });
        use_counts.remove('a');
        assert_eq!(use_counts.settle(), Net { came: vec![], went: vec![] });
        use_counts.remove('a');
        // Moved from one to another, and never there.
        use_counts.remove('b');
        use_counts.add('b');
        use_counts.remove('c');
        assert_eq!(use_counts.settle(), Net { came: vec![], went: vec!['a'] });
        assert!(use_counts.has(&'b') && !use_counts.has(&'a'));
        use_counts.exists('b');
        use_counts.exists('c');
        assert_eq!(use_counts.settle(), Net { came: vec![], went: vec!['c'] });
    }
}
