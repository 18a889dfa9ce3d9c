//! Logs the progress of a long full sync.
//!
//! A full sync is long when a large table is read back, or a large plan is written. Progress is logged
//! when one second has passed, and then at most once a second; a shorter sync logs nothing here.

use std::time::{Duration, Instant};

use portolan_nft::{TableDump, TableId};
use tracing::info;

const EVERY: Duration = Duration::from_secs(1);

/// The progress of a full sync.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The number of service ports.
    total: usize,
    began: Instant,
    next: Instant,
}

impl Progress {
    /// A full sync of this many service ports that begins now.
    pub(crate) fn new(total: usize, began: Instant) -> Self {
        Self { total, began, next: began + EVERY }
    }

    /// Logs that `table` was read, if that took long.
    pub(crate) fn read(&mut self, table: &TableId, found: Option<&TableDump>, now: Instant) {
        if self.is_due(now) {
            let elements: usize =
                found.iter().flat_map(|dump| &dump.sets).map(|set| set.elements.len()).sum();
            info!(%table, elements, duration = ?now - self.began, "Read existing table");
        }
    }

    /// Logs that `synced` service ports were written or compared, if the last message is a second old.
    pub(crate) fn committed(&mut self, table: &TableId, synced: usize, now: Instant) {
        if self.is_due(now) {
            info!(%table, synced, total = self.total, elapsed = ?now - self.began, "Syncing service ports");
        }
    }

    /// Whether a message is due; if so, the next one is due a second later.
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

    /// The tenths of a second at which a message is logged, of those at which one could be.
    fn logged(occasions: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let began = Instant::now();
        let mut progress = Progress::new(1, began);
        let at = |tenths: &u64| progress.is_due(began + Duration::from_millis(100 * tenths));
        occasions.into_iter().filter(at).collect()
    }

    #[test]
    fn a_sync_of_less_than_a_second_logs_nothing() {
        assert!(logged(0..10).is_empty());
    }

    #[test]
    fn a_long_sync_logs_at_most_once_a_second() {
        assert_eq!(logged(0..35), [10, 20, 30]);
        assert_eq!(logged([15, 16, 24, 25, 60, 69]), [15, 25, 60], "a second after the last message");
    }
}
