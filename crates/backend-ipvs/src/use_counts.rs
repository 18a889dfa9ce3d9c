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
    pub(crate) added: Vec<T>,
    pub(crate) removed: Vec<T>,
}

impl<T: Clone + Eq + Hash + Ord> UseCounts<T> {
    /// The object exists, whether it has users or not.
    pub(crate) fn exists(&mut self, object: T) {
        self.before.insert(object, true);
    }

    /// Adds a user.
    pub(crate) fn add(&mut self, object: T) {
        let count = self.counts.entry(object.clone()).or_insert(0);
        self.before.entry(object).or_insert(*count > 0);
        *count += 1;
    }

    /// Removes a user.
    pub(crate) fn remove(&mut self, object: T) {
        let Some(count) = self.counts.get_mut(&object) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&object);
        }
        self.before.entry(object).or_insert(true);
    }

    /// Whether it has a user.
    pub(crate) fn has(&self, object: &T) -> bool {
        self.counts.contains_key(object)
    }

    /// All objects with users.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.counts.keys()
    }

    /// The changes since the last call, in order.
    pub(crate) fn settle(&mut self) -> Net<T> {
        let mut net = Net { added: Vec::new(), removed: Vec::new() };
        for (object, existed) in std::mem::take(&mut self.before) {
            match (existed, self.counts.contains_key(&object)) {
                (false, true) => net.added.push(object),
                (true, false) => net.removed.push(object),
                _ => {}
            }
        }
        net.added.sort_unstable();
        net.removed.sort_unstable();
        net
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_added_with_its_first_user_and_removed_with_its_last() {
        let mut use_counts = UseCounts::default();
        use_counts.add('a');
        use_counts.add('a');
        use_counts.add('b');
        assert_eq!(use_counts.settle(), Net { added: vec!['a', 'b'], removed: vec![] });
        use_counts.remove('a');
        assert_eq!(use_counts.settle(), Net { added: vec![], removed: vec![] });
        use_counts.remove('a');
        // Moved from one to another, and never there.
        use_counts.remove('b');
        use_counts.add('b');
        use_counts.remove('c');
        assert_eq!(use_counts.settle(), Net { added: vec![], removed: vec!['a'] });
        assert!(use_counts.has(&'b') && !use_counts.has(&'a'));
        use_counts.exists('b');
        use_counts.exists('c');
        assert_eq!(use_counts.settle(), Net { added: vec![], removed: vec!['c'] });
    }
}
