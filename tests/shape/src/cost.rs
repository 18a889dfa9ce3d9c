//! What was spent, and whether it grew.

use portolan_core::ApplyReport;

/// What one apply, or the median of several, took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) allocations: u64,
    /// Asked of the allocator, freed or not; what grows counts with its old size and its new one.
    pub(crate) allocated_bytes: u64,
    /// The most that was held at one time, beyond what was there before.
    pub(crate) peak_bytes: u64,
    pub(crate) operations: usize,
    pub(crate) messages: usize,
    pub(crate) message_bytes: usize,
    pub(crate) transactions: usize,
}

impl Cost {
    pub(crate) fn new(memory: allocation_counter::AllocationInfo, report: &ApplyReport) -> Self {
        Self {
            allocations: memory.count_total,
            allocated_bytes: memory.bytes_total,
            peak_bytes: memory.bytes_max,
            operations: report.operations,
            messages: report.messages,
            message_bytes: report.bytes,
            transactions: report.transactions,
        }
    }

    /// The median of each figure by itself.
    pub(crate) fn median(costs: &[Self]) -> Self {
        Self {
            allocations: median(costs, |cost| cost.allocations),
            allocated_bytes: median(costs, |cost| cost.allocated_bytes),
            peak_bytes: median(costs, |cost| cost.peak_bytes),
            operations: median(costs, |cost| cost.operations),
            messages: median(costs, |cost| cost.messages),
            message_bytes: median(costs, |cost| cost.message_bytes),
            transactions: median(costs, |cost| cost.transactions),
        }
    }

    /// What is wrong with this cost in a large cluster, given that of the same change in a small one.
    ///
    /// What is sent must be equal. What is allocated may differ by a little: names of later objects have more
    /// digits, and trees are deeper.
    pub(crate) fn growth_since(&self, small: &Self) -> Option<String> {
        let is_near = |large: u64, small: u64, slack: u64| large <= small + slack;
        let sent = |cost: &Self| (cost.operations, cost.messages, cost.message_bytes, cost.transactions);
        let is_flat = sent(self) == sent(small)
            && is_near(self.allocations, small.allocations, 4)
            && is_near(self.allocated_bytes, small.allocated_bytes, 512)
            && is_near(self.peak_bytes, small.peak_bytes, 512);
        (!is_flat).then(|| format!("a change costs more in a larger cluster: {small:?} became {self:?}"))
    }
}

fn median<T: Ord + Copy>(costs: &[Cost], figure: impl Fn(&Cost) -> T) -> T {
    let mut figures: Vec<T> = costs.iter().map(figure).collect();
    figures.sort_unstable();
    figures[figures.len() / 2]
}
