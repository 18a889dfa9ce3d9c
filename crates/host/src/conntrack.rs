//! How much the kernel's connection tracking may hold, and for how long.

use std::time::Duration;

use portolan_config::Conntrack;

use crate::{Host, Outcome, Tuned};

/// The most flows that are ever asked for, whatever the number of CPUs; kube-proxy's own limit.
/// Each slot of the table costs some 300 bytes once it is used.
const MOST_FLOWS: i64 = 1_048_576;

/// The file of the hash table's size, in buckets. The kernel takes it in the initial network namespace only.
const HASH_SIZE: &str = "/sys/module/nf_conntrack/parameters/hashsize";

/// How many flows share a bucket of the hash table at most when the table is full.
const FLOWS_PER_BUCKET: i64 = 4;

/// The most flows on a machine of so many CPUs, if `settings` ask for it.
fn most_flows(settings: &Conntrack, cpus: usize) -> Option<i64> {
    if settings.max_per_core == 0 {
        return None;
    }
    let cpus = i64::try_from(cpus).unwrap_or(i64::MAX);
    let scaled = i64::from(settings.max_per_core).saturating_mul(cpus);
    // The limit is stronger than the least, as in kube-proxy.
    Some(if scaled > MOST_FLOWS { MOST_FLOWS } else { scaled.max(settings.min.into()) })
}

/// The time-outs that `settings` ask for, in seconds, by the last part of their files' names.
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

/// Whole seconds, and at least one: a time-out of zero would forget every flow at once, which half a second does not
/// mean.
fn seconds(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX).max(1)
}

impl Host {
    /// Makes connection tracking as `settings` say and tells what became of each setting they name.
    pub fn tune_conntrack(&self, settings: &Conntrack) -> Vec<Tuned> {
        let mut tuned = Vec::new();
        if let Some(most) = most_flows(settings, self.cpus()) {
            self.tune_size(most, &mut tuned);
        }
        tuned.extend(timeouts(settings).map(|(name, seconds)| self.tune(name, seconds)));
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
