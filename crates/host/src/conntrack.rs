//! How much the kernel's connection tracking may hold, and for how long.

use std::time::Duration;

use crate::{Host, Outcome, Tuned};

/// The most flows that are ever asked for, whatever the number of CPUs; kube-proxy's own limit.
/// Each slot of the table costs some 300 bytes once it is used.
const MOST_FLOWS: i64 = 1_048_576;

/// The file of the hash table's size, in buckets. The kernel takes it in the initial network namespace only.
const HASH_SIZE: &str = "/sys/module/nf_conntrack/parameters/hashsize";

/// How many flows share a bucket of the hash table at most when the table is full.
const FLOWS_PER_BUCKET: i64 = 4;

/// What connection tracking is asked for; zero leaves the host's own value alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConntrackSettings {
    /// Flows per CPU.
    pub max_per_core: u32,
    /// The least that [`max_per_core`](Self::max_per_core) may come to on small machines; means nothing
    /// without it.
    pub min: u32,
    /// How long an established TCP connection is kept while nothing is sent.
    pub tcp_established_timeout: Duration,
    /// How long a TCP connection is kept that one side has closed.
    pub tcp_close_wait_timeout: Duration,
    /// TCP packets outside the window pass as valid. Never switched off here once it is on.
    pub tcp_be_liberal: bool,
    /// How long a UDP flow without an answer is kept.
    pub udp_timeout: Duration,
    /// How long a UDP flow with packets both ways is kept.
    pub udp_stream_timeout: Duration,
}

impl ConntrackSettings {
    /// The most flows on a machine of so many CPUs, if it is asked for.
    fn most_flows(&self, cpus: usize) -> Option<i64> {
        if self.max_per_core == 0 {
            return None;
        }
        let cpus = i64::try_from(cpus).unwrap_or(i64::MAX);
        let scaled = i64::from(self.max_per_core).saturating_mul(cpus);
        // The limit is stronger than the least, as in kube-proxy.
        Some(if scaled > MOST_FLOWS { MOST_FLOWS } else { scaled.max(self.min.into()) })
    }

    /// The time-outs asked for, in seconds, by the last part of their files' names.
    fn timeouts(&self) -> impl Iterator<Item = (&'static str, i64)> {
        [
            ("tcp_timeout_established", self.tcp_established_timeout),
            ("tcp_timeout_close_wait", self.tcp_close_wait_timeout),
            ("udp_timeout", self.udp_timeout),
            ("udp_timeout_stream", self.udp_stream_timeout),
        ]
        .into_iter()
        .filter(|(_, timeout)| !timeout.is_zero())
        .map(|(name, timeout)| (name, seconds(timeout)))
    }
}

/// Whole seconds, and never none: a time-out of zero would forget every flow at once, which nobody means
/// who asks for half a second.
fn seconds(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX).max(1)
}

impl Host {
    /// Makes connection tracking as `settings` say and tells what became of each setting they name.
    pub fn tune_conntrack(&self, settings: &ConntrackSettings) -> Vec<Tuned> {
        let mut tuned = Vec::new();
        if let Some(most) = settings.most_flows(self.cpus()) {
            self.tune_size(most, &mut tuned);
        }
        tuned.extend(settings.timeouts().map(|(name, seconds)| self.tune(name, seconds)));
        if settings.tcp_be_liberal {
            tuned.push(self.tune("tcp_be_liberal", 1));
        }
        tuned
    }

    /// Sets how many flows there may be, and sees to it that finding one stays fast.
    fn tune_size(&self, most: i64, tuned: &mut Vec<Tuned>) {
        let max = self.tune("max", most);
        let may_grow = !matches!(max.outcome, Outcome::Failed(_));
        tuned.push(max);
        if may_grow {
            let outcome = self.raise(HASH_SIZE, most / FLOWS_PER_BUCKET).into();
            tuned.push(Tuned { sysctl: HASH_SIZE.to_owned(), outcome });
        }
    }

    fn tune(&self, name: &str, value: i64) -> Tuned {
        self.set_sysctl(&format!("net/netfilter/nf_conntrack_{name}"), value)
    }
}

#[cfg(test)]
mod tests;
