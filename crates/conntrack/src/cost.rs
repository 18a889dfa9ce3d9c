//! How many narrow lists cost no more than one of all UDP flows.
//!
//! The kernel walks all entries and all buckets of its table for every list, and sends, and we read,
//! those that the filter admits. With `n` entries, all of them UDP, `k` narrow lists cost less than a
//! wide one as long as `(k − 1) × (BUCKETS + n × STEP) < n × READ`.
//!
//! That takes few flows to be to the frontends in question. When most are, as at a start, the narrow
//! lists bring as much as the wide one, and for the additional walks cost up to twice as much, never more.
//!
//! The figures are from `examples/stale_flows.rs` on Linux 6.18, with 1,000 to 250,000 flows. They differ from
//! machine to machine, the limit that follows much less, for it is a ratio of them.

/// To walk the buckets of an empty table, in nanoseconds: 262,144 of them, the size that Linux
/// chooses for itself with more than 4 GiB of memory (`nf_conntrack_init_start`).
const BUCKETS: u64 = 8_800_000;
/// To step over one entry, in nanoseconds.
const STEP: u64 = 150;
/// To send one entry, read and judge it, in nanoseconds.
const READ: u64 = 1_600;

/// The most narrow lists to ask for before a wide one, in a table with `entries`; at least one.
pub(crate) fn narrow_lists(entries: u32) -> usize {
    let entries = u64::from(entries);
    let wide = entries * READ;
    let narrow = BUCKETS + entries * STEP;
    usize::try_from(1 + wide / narrow).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::narrow_lists;

    #[test]
    fn small_tables_are_read_at_once_and_large_ones_by_frontend() {
        let limits = [0, 1_000, 10_000, 20_000, 100_000, 250_000].map(narrow_lists);
        assert_eq!(limits, [1, 1, 2, 3, 7, 9]);
        assert!(narrow_lists(u32::MAX) < 12, "however large the table, a list is a walk through all of it");
    }
}
