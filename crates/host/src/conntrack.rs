//! Sysctls of connection tracking: its size and timeouts.

use std::time::Duration;

use nix::sched::sched_getaffinity;
use nix::unistd::Pid;
use portolan_config::Conntrack;

use crate::{Host, Outcome, SysctlResult};

/// The upper limit of `nf_conntrack_max`, as in kube-proxy. Each entry takes some 300 bytes once it is used.
const MAX_FLOWS: i64 = 1_048_576;

/// The size of the hash table, in buckets; writable in the initial network namespace only.
const HASH_SIZE: &str = "/sys/module/nf_conntrack/parameters/hashsize";

/// Flows per bucket of a full hash table, on average.
const FLOWS_PER_BUCKET: i64 = 4;

/// The CPUs that are online, as ranges: `0-3,6` (kernel: admin-guide/cputopology.rst).
const ONLINE: &str = "/sys/devices/system/cpu/online";

impl Host {
    /// The number of CPUs of the host that are online, at least one.
    ///
    /// Of the host and not of this process, because connection tracking serves all of it. Without sysfs: the CPUs of
    /// this process.
    pub fn cpus(&self) -> usize {
        let online = self.text(ONLINE).ok();
        online.as_deref().and_then(count_cpus).unwrap_or_else(usable)
    }
}

/// The number of CPUs in a list of ranges; `None` if the list is empty or invalid.
fn count_cpus(ranges: &str) -> Option<usize> {
    let ranges = ranges.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
        Some(usize::from(last.checked_sub(first)?) + 1)
    });
    ranges.sum()
}

/// The CPUs that this process may run on. The standard library's number would be limited by a CPU quota.
fn usable() -> usize {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return 1 };
    let cpus = 0..nix::sched::CpuSet::count();
    cpus.filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count().max(1)
}

/// `nf_conntrack_max` for this number of CPUs; `None` leaves it unchanged.
fn max_flows(settings: &Conntrack, cpus: usize) -> Option<i64> {
    if settings.max_per_core == 0 {
        return None;
    }
    let cpus = i64::try_from(cpus).unwrap_or(i64::MAX);
    let scaled = i64::from(settings.max_per_core).saturating_mul(cpus);
    // The limit is stronger than the minimum, as in kube-proxy.
    Some(if scaled > MAX_FLOWS { MAX_FLOWS } else { scaled.max(settings.min.into()) })
}

/// The timeouts to set, in seconds, by the last part of the sysctl's name.
fn timeouts(settings: &Conntrack) -> impl Iterator<Item = (&'static str, i64)> {
    [
        ("tcp_timeout_established", settings.tcp_established_timeout),
        ("tcp_timeout_close_wait", settings.tcp_close_wait_timeout),
        ("udp_timeout", settings.udp_timeout),
        ("udp_timeout_stream", settings.udp_stream_timeout),
    ]
    .into_iter()
    .filter(|(_, timeout)| !timeout.is_zero())
    .map(|(name, timeout)| (name, seconds(timeout)))
}

/// Whole seconds, at least 1: half a second must not become a timeout of 0, which would drop every flow at once.
fn seconds(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX).max(1)
}

impl Host {
    /// Applies `settings` and returns the result of each.
    pub fn tune_conntrack(&self, settings: &Conntrack) -> Vec<SysctlResult> {
        let mut tuned = Vec::new();
        if let Some(max) = max_flows(settings, self.cpus()) {
            self.tune_size(max, &mut tuned);
        }
        tuned.extend(timeouts(settings).map(|(name, seconds)| self.tune(name, seconds)));
        if settings.tcp_be_liberal {
            tuned.push(self.tune("tcp_be_liberal", 1));
        }
        tuned
    }

    /// Sets the maximum number of flows, and raises the size of the hash table so that lookups stay fast.
    fn tune_size(&self, flows: i64, tuned: &mut Vec<SysctlResult>) {
        let max = self.tune("max", flows);
        let may_grow = !matches!(max.outcome, Outcome::Failed(_));
        tuned.push(max);
        if may_grow {
            let outcome = self.raise(HASH_SIZE, flows / FLOWS_PER_BUCKET).into();
            tuned.push(SysctlResult { sysctl: HASH_SIZE.to_owned(), outcome });
        }
    }

    fn tune(&self, name: &str, value: i64) -> SysctlResult {
        self.set_sysctl(&format!("net/netfilter/nf_conntrack_{name}"), value)
    }
}

#[cfg(test)]
mod tests;
