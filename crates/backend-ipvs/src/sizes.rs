//! How many elements each set has, and the capacity that it needs: pure.
//!
//! Sets are created as kube-proxy creates them, so that kube-proxy accepts them when it returns, and get a larger
//! capacity only when they need it. That is known before elements are added: the kernel would say so in the middle of
//! an ordered list of changes.

use std::collections::HashMap;

use portolan_ipvs::{Capacity, Set};

/// The sizes of all sets.
#[derive(Debug, Default)]
pub(crate) struct SetSizes {
    sets: HashMap<Set, Count>,
}

#[derive(Debug, Default)]
struct Count {
    elements: usize,
    /// The most elements during the change: all are added before any is removed.
    peak: usize,
    /// The capacity of the set, if that is known.
    capacity: Option<Capacity>,
}

impl SetSizes {
    /// A set has so many elements, and an unknown capacity.
    pub(crate) fn has(&mut self, set: Set, elements: usize) {
        self.sets.insert(set, Count { elements, peak: elements, capacity: None });
    }

    /// One more element. Added elements are counted before removed ones.
    pub(crate) fn add(&mut self, set: Set) {
        let count = self.sets.entry(set).or_default();
        count.elements += 1;
        count.peak = count.peak.max(count.elements);
    }

    /// One element less.
    pub(crate) fn remove(&mut self, set: Set) {
        let count = self.sets.entry(set).or_default();
        count.elements = count.elements.saturating_sub(1);
    }

    /// The sets that have, or may have, another capacity than they need, with the capacity that they are to get. One
    /// that is known to have more keeps it until the next full sync.
    pub(crate) fn unfit(&mut self) -> Vec<(Set, Capacity)> {
        let mut found = Vec::new();
        for (set, count) in &mut self.sets {
            let needed = Capacity::of(count.peak);
            if count.capacity.is_none_or(|capacity| capacity < needed) {
                count.capacity = Some(needed);
                found.push((*set, needed));
            }
            count.peak = count.elements;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 65_536;

    #[test]
    fn a_set_gets_a_larger_capacity_once_with_the_first_element_that_exceeds_it() {
        let mut sizes = SetSizes::default();
        sizes.has(Set::ClusterIp, MOST - 1);
        assert_eq!(sizes.unfit(), [(Set::ClusterIp, Capacity::Usual)], "its capacity is unknown");
        sizes.add(Set::ClusterIp);
        assert_eq!(sizes.unfit(), []);
        sizes.add(Set::ClusterIp);
        assert_eq!(sizes.unfit(), [(Set::ClusterIp, Capacity::Large)]);
        sizes.add(Set::ClusterIp);
        assert_eq!(sizes.unfit(), []);
        sizes.remove(Set::ClusterIp);
        sizes.remove(Set::ClusterIp);
        assert_eq!(sizes.unfit(), [], "it keeps what it has");
    }

    #[test]
    fn added_elements_need_capacity_beside_those_removed_with_them() {
        let mut sizes = SetSizes::default();
        sizes.has(Set::LoopBack, MOST);
        sizes.add(Set::LoopBack);
        sizes.remove(Set::LoopBack);
        assert_eq!(sizes.unfit(), [(Set::LoopBack, Capacity::Large)]);
        let mut sizes = SetSizes::default();
        sizes.has(Set::LoopBack, MOST);
        sizes.remove(Set::LoopBack);
        sizes.unfit();
        sizes.add(Set::LoopBack);
        assert_eq!(sizes.unfit(), [], "removed elements leave capacity for later ones");
    }
}
