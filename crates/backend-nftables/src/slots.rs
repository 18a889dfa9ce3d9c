//! The endpoints in the slots of a service port.
//!
//! A packet draws a slot number, so the slots of N endpoints are 0 to N−1 without
//! gaps. Their order has no meaning, so changes are cheap: a replaced endpoint is one
//! slot rewritten, a removed one is the last one moved into its place.

use std::net::IpAddr;

use portolan_core::Endpoint;
use portolan_nft::Bytes;

/// The endpoint of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The endpoint's address.
    pub address: IpAddr,
    /// The endpoint's port.
    pub port: u16,
}

impl Target {
    /// As the data of an element.
    pub fn bytes(&self) -> Bytes {
        *Bytes::new().push_addr(self.address).push_port(self.port)
    }

    /// From the data of an element, where a port fills four bytes.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (address, port) = data.split_at_checked(data.len().checked_sub(4)?)?;
        let address = crate::frontend::address(address)?;
        Some(Self { address, port: u16::from_be_bytes(port.get(..2)?.try_into().ok()?) })
    }
}

impl From<&Endpoint> for Target {
    fn from(endpoint: &Endpoint) -> Self {
        Self { address: endpoint.address, port: endpoint.port }
    }
}

/// The change of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotChange {
    /// Its number.
    pub slot: u32,
    /// `None` when it did not exist.
    pub old: Option<Target>,
    /// `None` when it is removed.
    pub new: Option<Target>,
}

/// The slots of one service port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots(Vec<Target>);

impl Slots {
    /// Slots as they were found, possibly with a target in several of them.
    pub fn new(targets: Vec<Target>) -> Self {
        Self(targets)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// All slots with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Target)> {
        (0..).zip(self.0.iter().copied())
    }

    /// Assigns `wanted`, which is sorted and names each target once, to the slots and changes as few
    /// of them as possible. Returns those, each once.
    pub fn assign(&mut self, wanted: &[Endpoint]) -> Vec<SlotChange> {
        if self.0.is_empty() {
            return self.fill(wanted);
        }
        let before = self.0.clone();
        let mut kept = vec![false; wanted.len()];
        let mut holes = Vec::new();
        for (index, target) in self.0.iter().enumerate() {
            match position(wanted, target) {
                Ok(at) if !kept[at] => kept[at] = true,
                _ => holes.push(index),
            }
        }
        let newcomers = wanted.iter().zip(&kept).filter(|(_, kept)| !**kept);
        let mut newcomers = newcomers.map(|(endpoint, _)| Target::from(endpoint));
        let mut changed = holes.clone();
        // Lowest first, so that the holes that stay are the last ones.
        holes.reverse();
        for target in newcomers.by_ref() {
            if let Some(hole) = holes.pop() {
                self.0[hole] = target;
            } else {
                changed.push(self.0.len());
                self.0.push(target);
            }
        }
        // Highest first: what is swapped in then never comes from a hole itself.
        for hole in holes {
            changed.push(self.0.len() - 1);
            self.0.swap_remove(hole);
        }
        changed.sort_unstable();
        changed.dedup();
        let at = |targets: &[Target], index: usize| targets.get(index).copied();
        changed
            .into_iter()
            .map(|index| SlotChange {
                slot: u32::try_from(index).unwrap_or(u32::MAX),
                old: at(&before, index),
                new: at(&self.0, index),
            })
            .filter(|change| change.old != change.new)
            .collect()
    }

    /// Makes the first slots.
    fn fill(&mut self, wanted: &[Endpoint]) -> Vec<SlotChange> {
        self.0 = wanted.iter().map(Target::from).collect();
        self.iter().map(|(slot, target)| SlotChange { slot, old: None, new: Some(target) }).collect()
    }
}

/// Where a target stands in a sorted list of endpoints.
fn position(endpoints: &[Endpoint], target: &Target) -> Result<usize, usize> {
    endpoints.binary_search_by_key(target, Target::from)
}

/// The slots as indexes into the sorted list of endpoints.
///
/// After a full sync every slot has the index of its endpoint, which takes no memory. Later changes take four
/// bytes for each slot of the lists that they touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order(Box<[u32]>);

impl Order {
    /// The order of slots that hold exactly the targets of `endpoints`, which is sorted.
    pub fn of(slots: &Slots, endpoints: &[Endpoint]) -> Self {
        let is = |at: usize, target: &Target| endpoints.get(at).is_some_and(|e| Target::from(e) == *target);
        if (0..).zip(&slots.0).all(|(at, target)| is(at, target)) {
            return Self::default();
        }
        let mut next = 0;
        let order = slots.0.iter().map(|target| {
            // Changes move few endpoints, so that most stand behind the one of the slot before.
            let found = if is(next, target) { Ok(next) } else { position(endpoints, target) };
            next = found.map_or(next, |at| at + 1);
            found.map_or(u32::MAX, |at| u32::try_from(at).unwrap_or(u32::MAX))
        });
        Self(order.collect())
    }

    /// The slots, from the endpoints in them.
    pub fn slots(&self, endpoints: &[Endpoint]) -> Slots {
        if self.is_sorted() {
            return Slots(endpoints.iter().map(Target::from).collect());
        }
        let target = |at: &u32| endpoints.get(usize::try_from(*at).ok()?).map(Target::from);
        Slots(self.0.iter().filter_map(target).collect())
    }

    /// Whether each slot has the index of its endpoint.
    pub fn is_sorted(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use portolan_core::plan::Locality;
    use proptest::prelude::*;

    use super::*;

    fn endpoints(last: &[u8]) -> Vec<Endpoint> {
        let mut endpoints: Vec<_> = last
            .iter()
            .map(|last| Endpoint { address: [10, 0, 0, *last].into(), port: 80, locality: Locality::Remote })
            .collect();
        endpoints.sort();
        endpoints.dedup();
        endpoints
    }

    fn slots(last: &[u8]) -> Slots {
        Slots(last.iter().map(|last| Target { address: [10, 0, 0, *last].into(), port: 80 }).collect())
    }

    #[test]
    fn only_the_slots_that_must_change_do() {
        type Case = (&'static str, &'static [u8], &'static [u8], &'static [u8], usize);
        let cases: [Case; 8] = [
            ("the same changes nothing", &[3, 1, 2], &[1, 2, 3], &[3, 1, 2], 0),
            ("a replaced one is one slot", &[1, 2, 3], &[1, 3, 9], &[1, 9, 3], 1),
            ("a removed one takes the last in its place", &[1, 2, 3, 4], &[1, 3, 4], &[1, 4, 3], 2),
            ("the last one just goes", &[1, 2, 3], &[1, 2], &[1, 2], 1),
            ("several go", &[1, 2, 3, 4, 5], &[2], &[2], 5),
            ("a new one is appended", &[1], &[1, 2], &[1, 2], 1),
            ("all go", &[1, 2], &[], &[], 2),
            ("all are new", &[], &[1, 2], &[1, 2], 2),
        ];
        for (rule, before, wanted, after, changes) in cases {
            let mut actual = slots(before);
            let changed = actual.assign(&endpoints(wanted));
            assert_eq!((actual, changed.len()), (slots(after), changes), "{rule}");
        }
    }

    #[test]
    fn a_target_that_was_found_twice_keeps_one_slot() {
        let mut found = slots(&[1, 2, 1, 1]);
        let changed = found.assign(&endpoints(&[1, 2]));
        assert_eq!((found, changed.len()), (slots(&[1, 2]), 2));
        let mut found = slots(&[1, 1]);
        assert_eq!(found.assign(&endpoints(&[1, 2, 3])).len(), 2);
        assert_eq!(found, slots(&[1, 2, 3]));
    }

    #[test]
    fn slots_in_the_order_of_their_endpoints_take_no_memory() {
        let list = endpoints(&[1, 2, 3]);
        for (given, is_sorted) in
            [(slots(&[1, 2, 3]), true), (slots(&[1, 3, 2]), false), (slots(&[3, 1, 2]), false)]
        {
            let order = Order::of(&given, &list);
            assert_eq!((order.is_sorted(), order.slots(&list)), (is_sorted, given));
        }
    }

    proptest! {
        #[test]
        fn changes_lead_from_the_old_slots_to_exactly_the_wanted_targets(
            before in proptest::collection::hash_set(0_u8..20, 0..12),
            wanted in proptest::collection::vec(0_u8..20, 0..12),
        ) {
            let before: Vec<u8> = before.into_iter().collect();
            let wanted = endpoints(&wanted);
            let mut actual = slots(&before);
            let changes = actual.assign(&wanted);
            prop_assert_eq!(&Order::of(&actual, &wanted).slots(&wanted), &actual);
            let mut targets = actual.0.clone();
            targets.sort();
            prop_assert_eq!(targets, wanted.iter().map(Target::from).collect::<Vec<_>>());
            let mut replayed: Vec<Option<Target>> = slots(&before).0.into_iter().map(Some).collect();
            replayed.resize(replayed.len().max(actual.0.len()), None);
            for change in &changes {
                let slot = &mut replayed[change.slot as usize];
                prop_assert_eq!(*slot, change.old);
                prop_assert_ne!(change.old, change.new);
                *slot = change.new;
            }
            replayed.retain(Option::is_some);
            prop_assert_eq!(replayed.into_iter().flatten().collect::<Vec<_>>(), actual.0);
            let gone = before.len() - before.iter().filter(|last| endpoints(&[**last]).iter().all(|e| wanted.contains(e))).count();
            let new = wanted.len() + gone - before.len();
            prop_assert!(changes.len() <= gone.max(new) + gone.saturating_sub(new), "{changes:?}");
        }
    }
}
