//! Counters that somebody else keeps, such as the kernel: shown as they were last told.
//!
//! A counter of our own would have to be brought to the number that was told, and two pages made at once could both
//! add what lies between. Here the number just takes the place of the last: also where it is smaller, as after the
//! kernel's counter was made anew, which Prometheus takes for a counter that starts over.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc, Describer};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, Opts};

/// A counter that somebody else keeps; absent while nobody can tell what it says. Clones share the same value.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    opts: Opts,
    desc: Desc,
    total: Arc<Mutex<Option<u64>>>,
}

impl Told {
    /// Absent until its first number.
    pub(crate) fn with_opts(opts: Opts) -> Result<Self, prometheus::Error> {
        Ok(Self { desc: opts.describe()?, opts, total: Arc::default() })
    }

    /// It stands at `total`; with `None`, nobody can tell.
    pub(crate) fn tell(&self, total: Option<u64>) {
        *self.total.lock().unwrap_or_else(PoisonError::into_inner) = total;
    }

    fn total(&self) -> Option<u64> {
        *self.total.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn family(&self) -> Option<Vec<MetricFamily>> {
        let total = self.total()?;
        let counter = IntCounter::with_opts(self.opts.clone()).ok()?;
        counter.inc_by(total);
        Some(counter.collect())
    }
}

impl Collector for Told {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.family().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_what_was_last_told_and_nothing_where_nobody_knows() {
        let told = Told::with_opts(Opts::new("packets_total", "Packets")).unwrap();
        let shown = |told: &Told| {
            told.collect()
                .iter()
                .map(|family| family.get_metric()[0].get_counter().get_value())
                .collect::<Vec<_>>()
        };
        assert!(shown(&told).is_empty());
        for total in [0_u32, 7, 9, 3] {
            told.tell(Some(total.into()));
            assert_eq!(shown(&told), [f64::from(total)]);
            // However often it is looked at.
            assert_eq!(shown(&told.clone()), [f64::from(total)]);
        }
        told.tell(None);
        assert!(shown(&told).is_empty());
    }
}
