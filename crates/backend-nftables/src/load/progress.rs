//! Says where a long load is, so that nobody takes it for one that hangs.
//!
//! A load is long because of what others left us (reading a large table back) or because of what is
//! wanted (writing a large plan). Each is told of when it has gone on for a second, and then at most once
//! a second; a load that is quicker says nothing here.

use std::time::{Duration, Instant};

use portolan_nft::{TableDump, TableId};
use tracing::info;

/// A line a second is news for whoever watches, and still no flood for whoever reads it later.
const EVERY: Duration = Duration::from_secs(1);

/// A load that goes on.
#[derive(Debug)]
pub(crate) struct Progress {
    /// How many service ports there are.
    of: usize,
    began: Instant,
    next: Instant,
}

impl Progress {
    /// A load of so many service ports, which began then.
    pub(crate) fn new(of: usize, began: Instant) -> Self {
        Self { of, began, next: began + EVERY }
    }

    /// Tells that `table` has been read, if that took long.
    pub(crate) fn read(&mut self, table: &TableId, found: Option<&TableDump>, now: Instant) {
        if self.is_due(now) {
            let elements: usize =
                found.iter().flat_map(|dump| &dump.sets).map(|set| set.elements.len()).sum();
            info!(%table, elements, took = ?now - self.began, "the table is read back");
        }
    }

    /// Tells that `loaded` service ports have been written or compared, if the last word was a while ago.
    pub(crate) fn committed(&mut self, table: &TableId, loaded: usize, now: Instant) {
        if self.is_due(now) {
            info!(%table, loaded, of = self.of, since = ?now - self.began, "loading service ports");
        }
    }

    /// Whether there is something to say; if so, not again for a while.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next;
        if is_due {
            self.next = now + EVERY;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tenths of a second at which something is said, of those at which there is occasion to.
    fn said(occasions: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let began = Instant::now();
        let mut progress = Progress::new(1, began);
        let at = |tenths: &u64| progress.is_due(began + Duration::from_millis(100 * tenths));
        occasions.into_iter().filter(at).collect()
    }

    #[test]
    fn a_load_of_less_than_a_second_says_nothing() {
        assert!(said(0..10).is_empty());
    }

    #[test]
    fn a_long_load_speaks_at_most_once_a_second() {
        assert_eq!(said(0..35), [10, 20, 30]);
        assert_eq!(said([15, 16, 24, 25, 60, 69]), [15, 25, 60], "a second from the last word on");
    }
}
