//! What a packet's way costs the kernel, counted.

use std::ops::AddAssign;

/// What the kernel did for one packet.
///
/// Most of the cost of a short way is entering chains, then come look-ups, loads and comparisons. Of a rule that
/// stopped matching only what was asked counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work {
    /// Base chains that it entered.
    pub base_chains: u32,
    /// Rules that it met, whether they matched or not.
    pub rules: u32,
    /// Expressions that were evaluated, loads and comparisons alike.
    pub expressions: u32,
    /// How many of those were look-ups in sets and maps.
    pub lookups: u32,
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.base_chains += other.base_chains;
        self.rules += other.rules;
        self.expressions += other.expressions;
        self.lookups += other.lookups;
    }
}
