//! How slots are remembered between changes.

use portolan_core::Endpoint;

use super::{Slots, Target, position};

/// Slots as they are remembered: by where each one's endpoint stands in the sorted list of endpoints.
///
/// After a load every slot has the number of its endpoint, and that takes no room at all. Later changes
/// leave four bytes for each slot of the lists that they touched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order(Box<[u32]>);

impl Order {
    /// Remembers slots that lead to exactly the targets of `endpoints`, which is sorted.
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

    /// The slots again, from the endpoints that they lead to.
    pub fn slots(&self, endpoints: &[Endpoint]) -> Slots {
        if self.is_sorted() {
            return Slots(endpoints.iter().map(Target::from).collect());
        }
        let target = |at: &u32| endpoints.get(usize::try_from(*at).ok()?).map(Target::from);
        Slots(self.0.iter().filter_map(target).collect())
    }

    /// Whether each slot has the number of its endpoint.
    pub fn is_sorted(&self) -> bool {
        self.0.is_empty()
    }
}
