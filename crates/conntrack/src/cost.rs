//! How many narrow lists cost no more than one of all UDP flows.
//!
//! The kernel walks all entries and all buckets of its table for every list, and sends, and we read,
//! those that the filter admits. With `n` entries, all of them UDP, `k` narrow lists cost less than a
//! wide one as long as `(k − 1) × (BUCKETS + n × STEP) < n × READ`.

/// To walk the buckets of an empty table, in nanoseconds: 262,144 of them, the size that Linux
/// chooses for itself with more than 4 GiB of memory (`nf_conntrack_init_start`).
const BUCKETS: u64 = 9_000_000;
/// To step over one entry, in nanoseconds.
const STEP: u64 = 160;
/// To send one entry, read and judge it, in nanoseconds.
const READ: u64 = 1_200;

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
        assert_eq!(narrow_lists(0), 1);
        assert_eq!(narrow_lists(1_000), 1);
        assert!((4..10).contains(&narrow_lists(100_000)));
        assert!((5..10).contains(&narrow_lists(u32::MAX)));
    }
}
