//! How much is in each set, and how much room that takes: pure.
//!
//! Sets are made as kube-proxy makes them, so that it takes them for its own when it comes back, and get more room
//! only for elements that find none. That is seen before they come, for they come in an order, and the kernel,
//! which could say so itself, says it in the midst of them.

use std::collections::HashMap;

use portolan_ipvs::{Room, Set};

/// What is in the sets.
#[derive(Debug, Default)]
pub(crate) struct Fill {
    sets: HashMap<Set, Count>,
}

#[derive(Debug, Default)]
struct Count {
    elements: usize,
    /// The most that there are on the way there: what comes, comes before anything goes.
    peak: usize,
    /// The room that the set has, if that is known.
    room: Option<Room>,
}

impl Fill {
    /// So many are in a set, of unknown room.
    pub(crate) fn has(&mut self, set: Set, elements: usize) {
        self.sets.insert(set, Count { elements, peak: elements, room: None });
    }

    /// One more comes. Those that come are told before those that go.
    pub(crate) fn comes(&mut self, set: Set) {
        let count = self.sets.entry(set).or_default();
        count.elements += 1;
        count.peak = count.peak.max(count.elements);
    }

    /// One goes.
    pub(crate) fn goes(&mut self, set: Set) {
        let count = self.sets.entry(set).or_default();
        count.elements = count.elements.saturating_sub(1);
    }

    /// The sets that have, or may have, another room than they need for what was told, with the room that they
    /// are to get. One that is known to have more keeps it: only a comparison of everything gives it back.
    pub(crate) fn unfit(&mut self) -> Vec<(Set, Room)> {
        let mut found = Vec::new();
        for (set, count) in &mut self.sets {
            let needed = Room::of(count.peak);
            if count.room.is_none_or(|room| room < needed) {
                count.room = Some(needed);
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
    fn a_set_gets_more_room_with_the_first_element_that_finds_none_and_once() {
        let mut fill = Fill::default();
        fill.has(Set::ClusterIp, MOST - 1);
        assert_eq!(fill.unfit(), [(Set::ClusterIp, Room::Usual)], "nothing is known of its room");
        fill.comes(Set::ClusterIp);
        assert_eq!(fill.unfit(), []);
        fill.comes(Set::ClusterIp);
        assert_eq!(fill.unfit(), [(Set::ClusterIp, Room::Large)]);
        fill.comes(Set::ClusterIp);
        assert_eq!(fill.unfit(), []);
        fill.goes(Set::ClusterIp);
        fill.goes(Set::ClusterIp);
        assert_eq!(fill.unfit(), [], "it keeps what it has");
    }

    #[test]
    fn what_comes_needs_room_beside_what_goes_with_it() {
        let mut fill = Fill::default();
        fill.has(Set::LoopBack, MOST);
        fill.comes(Set::LoopBack);
        fill.goes(Set::LoopBack);
        assert_eq!(fill.unfit(), [(Set::LoopBack, Room::Large)]);
        let mut fill = Fill::default();
        fill.has(Set::LoopBack, MOST);
        fill.goes(Set::LoopBack);
        fill.unfit();
        fill.comes(Set::LoopBack);
        assert_eq!(fill.unfit(), [], "what went makes room for what comes later");
    }
}
