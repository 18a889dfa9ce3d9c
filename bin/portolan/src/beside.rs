//! What to do about another proxy's rules that appear while ours are programmed.
//!
//! A kube-proxy that runs beside Portolan writes its rules again whenever they are removed, so they stay as long as
//! it updates them. Rules that are not written any more lead to endpoints of a state that is past, and go. Whether a
//! kube-proxy has ended or has just nothing to write cannot be seen. So each removal after which they reappear
//! doubles the time that the next one waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portolan_core::{IpFamily, PerFamily, ProxyMode};
use tokio::time::Instant;

/// For how many of its sync periods a kube-proxy must have written nothing before its rules are removed.
const QUIET_PERIODS: u32 = 2;
/// The longest that is waited for, unless the sync period is longer: two of kube-proxy's full syncs, each of which
/// writes all rules.
const LONGEST_QUIET: Duration = Duration::from_secs(2 * 60 * 60);

/// How many repairs within [`CONTENTION_PERIODS`] sync periods tell of another writer.
const CONTENTION_REPAIRS: usize = 3;
const CONTENTION_PERIODS: u32 = 10;

/// The mode and family of another proxy's rules.
pub(crate) type Kind = (ProxyMode, IpFamily);

/// Rules of another proxy, with a number that changes whenever they are written.
pub(crate) type Found = (Kind, u64);

/// Rules of another proxy, as far as they were seen.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    seen: BTreeMap<Kind, Seen>,
    /// How often they were removed.
    removals: u32,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    version: u64,
    since: Instant,
}

/// What follows from a look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Rules that were not there before.
    pub(crate) appeared: Vec<Kind>,
    /// Rules that are there no more.
    pub(crate) gone: Vec<Kind>,
    /// Whether all of them are to be removed now.
    pub(crate) are_stale: bool,
}

impl Beside {
    /// Takes in what was found now.
    pub(crate) fn look(&mut self, found: &[Found], now: Instant, sync_period: Duration) -> Findings {
        let before = std::mem::take(&mut self.seen);
        let mut findings = Findings::default();
        for (kind, version) in found {
            let known = before.get(kind);
            if known.is_none() {
                findings.appeared.push(kind.clone());
            }
            let is_same = |seen: &&Seen| seen.version == *version;
            let since = known.filter(is_same).map_or(now, |seen| seen.since);
            self.seen.insert(kind.clone(), Seen { version: *version, since });
        }
        findings.gone = before.into_keys().filter(|kind| !self.seen.contains_key(kind)).collect();
        let quiet = self.quiet(sync_period);
        // One process writes all of them: while it writes any, it is alive.
        findings.are_stale =
            !self.seen.is_empty() && self.seen.values().all(|seen| now.duration_since(seen.since) >= quiet);
        findings
    }

    /// For how long nothing must have been written.
    fn quiet(&self, sync_period: Duration) -> Duration {
        let first = sync_period * QUIET_PERIODS;
        let doubled = 2_u32.checked_pow(self.removals).and_then(|times| first.checked_mul(times));
        doubled.map_or(LONGEST_QUIET, |quiet| quiet.min(LONGEST_QUIET)).max(first)
    }

    /// They are being removed. Gives which.
    pub(crate) fn removed(&mut self) -> Vec<Kind> {
        self.removals = self.removals.saturating_add(1);
        std::mem::take(&mut self.seen).into_keys().collect()
    }
}

/// When our own rules had to be repaired. A mode with kube-proxy's names shares its chains with a kube-proxy that runs
/// beside it, and nothing else shows that one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contention(Arc<Mutex<PerFamily<Vec<Instant>>>>);

impl Contention {
    /// Rules of a family were found damaged.
    pub(crate) fn repaired(&self, family: IpFamily, now: Instant) {
        let mut repairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = &mut repairs[family];
        times.push(now);
        let surplus = times.len().saturating_sub(CONTENTION_REPAIRS);
        times.drain(..surplus);
    }

    /// Whether another process keeps changing the rules of a family.
    pub(crate) fn is_now(&self, family: IpFamily, now: Instant, sync_period: Duration) -> bool {
        let repairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = &repairs[family];
        let is_recent = |time: &Instant| now.duration_since(*time) <= sync_period * CONTENTION_PERIODS;
        times.len() == CONTENTION_REPAIRS && times.first().is_some_and(is_recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);
    const V4: Kind = (ProxyMode::IPTABLES, IpFamily::V4);
    const V6: Kind = (ProxyMode::IPTABLES, IpFamily::V6);

    /// Looks each sync period at rules of these versions and says at which of the looks they were stale. They are
    /// removed then.
    fn stale(beside: &mut Beside, mut now: Instant, versions: impl IntoIterator<Item = u64>) -> Vec<usize> {
        let mut stale = Vec::new();
        for (place, version) in versions.into_iter().enumerate() {
            if beside.look(&[(V4, version)], now, PERIOD).are_stale {
                stale.push(place);
                beside.removed();
            }
            now += PERIOD;
        }
        stale
    }

    #[test]
    fn rules_are_stale_when_they_were_not_written_for_two_sync_periods() {
        assert_eq!(stale(&mut Beside::default(), Instant::now(), [1, 1, 2, 3, 3, 4, 4, 4]), [7]);
    }

    #[test]
    fn a_kube_proxy_that_goes_on_writing_is_left_alone() {
        assert_eq!(stale(&mut Beside::default(), Instant::now(), 0..10_000), [0; 0]);
    }

    /// An idle kube-proxy, which writes only because its rules were removed.
    #[test]
    fn rules_that_reappear_are_removed_at_intervals_that_double_up_to_two_hours() {
        let removals = stale(&mut Beside::default(), Instant::now(), [1; 2_000]);
        let intervals: Vec<_> = removals.windows(2).map(|pair| pair[1] - pair[0] - 1).collect();
        assert_eq!(intervals[..7], [4, 8, 16, 32, 64, 128, 240]);
        assert!(intervals[7..].iter().all(|interval| *interval == 240), "{intervals:?}");
    }

    #[test]
    fn as_long_as_any_family_is_written_none_is_stale() {
        let (mut beside, mut now) = (Beside::default(), Instant::now());
        for version in 0..10 {
            assert!(!beside.look(&[(V4, 1), (V6, version)], now, PERIOD).are_stale);
            now += PERIOD;
        }
    }

    #[test]
    fn rules_of_others_are_reported_when_they_appear_and_disappear() {
        let (mut beside, now) = (Beside::default(), Instant::now());
        let findings = |appeared: &[Kind], gone: &[Kind]| Findings {
            appeared: appeared.to_vec(),
            gone: gone.to_vec(),
            are_stale: false,
        };
        assert_eq!(beside.look(&[], now, PERIOD), findings(&[], &[]));
        assert_eq!(beside.look(&[(V4, 1)], now, PERIOD), findings(&[V4], &[]));
        assert_eq!(beside.look(&[(V4, 2)], now, PERIOD), findings(&[], &[]));
        assert_eq!(beside.look(&[(V6, 1)], now, PERIOD), findings(&[V6], &[V4]));
        assert_eq!(beside.look(&[], now, PERIOD), findings(&[], &[V6]));
        assert_eq!(beside.look(&[(V4, 2)], now, PERIOD), findings(&[V4], &[]));
        assert_eq!(beside.removed(), [V4]);
    }

    #[test]
    fn a_long_sync_period_is_waited_for_twice() {
        let day = Duration::from_secs(24 * 60 * 60);
        let beside = Beside { removals: 40, ..Beside::default() };
        assert_eq!(beside.quiet(day), 2 * day);
    }

    #[test]
    fn three_repairs_within_ten_sync_periods_are_contention_in_that_family() {
        let (contention, start) = (Contention::default(), Instant::now());
        for repair in 0..3 {
            assert!(!contention.is_now(IpFamily::V4, start + repair * PERIOD, PERIOD));
            contention.repaired(IpFamily::V4, start + repair * PERIOD);
        }
        assert!(contention.is_now(IpFamily::V4, start + 2 * PERIOD, PERIOD));
        assert!(!contention.is_now(IpFamily::V6, start + 2 * PERIOD, PERIOD));
        assert!(contention.is_now(IpFamily::V4, start + 10 * PERIOD, PERIOD));
        assert!(!contention.is_now(IpFamily::V4, start + 11 * PERIOD, PERIOD));
        contention.repaired(IpFamily::V4, start + 100 * PERIOD);
        assert!(!contention.is_now(IpFamily::V4, start + 100 * PERIOD, PERIOD));
    }
}
