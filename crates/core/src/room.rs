//! Room in tables for a whole list at once.
//!
//! A table that grows step by step doubles several times, and each time leaves a hole behind that
//! nothing later fits into as well. A list says beforehand how much there will be.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// A table that can be told its size beforehand.
pub(crate) trait Room {
    /// Makes room for so many entries in all, those that are there included.
    ///
    /// Unlike `reserve`, which counts from what is there: a list that comes a second time needs no
    /// more room.
    fn make_room(&mut self, in_all: usize);
}

impl<K: Eq + Hash, V> Room for HashMap<K, V> {
    fn make_room(&mut self, in_all: usize) {
        self.reserve(in_all.saturating_sub(self.len()));
    }
}

impl<T: Eq + Hash> Room for HashSet<T> {
    fn make_room(&mut self, in_all: usize) {
        self.reserve(in_all.saturating_sub(self.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_comes_again_takes_no_more_room() {
        let mut table: HashSet<usize> = HashSet::new();
        table.make_room(1000);
        let room = table.capacity();
        assert!(room >= 1000);
        table.extend(0..1000);
        table.make_room(1000);
        assert_eq!(table.capacity(), room);
    }
}
