//! Metrics that backends report under their own names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_core::backend::{Metric, MetricValue};
use prometheus::core::{Collector, Desc, Describer};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntCounter, Opts};

use crate::definition::{Definition, Definitions, MetricsError, number};
use crate::sync::IP_FAMILY;

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// What the modes of this proxy report: name, kind, labels and help.
const KNOWN: [(&str, &str, &[&str], &str); 11] = [
    (
        "kubeproxy_sync_proxy_rules_iptables_total",
        GAUGE,
        &["table", IP_FAMILY[0]],
        "Rules in the chains of the proxy, by table (filter, nat)",
    ),
    (
        "kubeproxy_sync_proxy_rules_iptables_last",
        GAUGE,
        &["table", IP_FAMILY[0]],
        "Rules that the last sync wrote, by table (filter, nat)",
    ),
    (
        "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
        COUNTER,
        IP_FAMILY,
        "Failed runs of iptables-restore",
    ),
    (
        "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
        COUNTER,
        IP_FAMILY,
        "Failed runs of iptables-restore with changed rules only, after each of which all are written",
    ),
    (
        "kubeproxy_iptables_ct_state_invalid_dropped_packets_total",
        COUNTER,
        &[],
        "Packets dropped because connection tracking took them for invalid",
    ),
    (
        "kubeproxy_iptables_localhost_nodeports_accepted_packets_total",
        COUNTER,
        &[],
        "Packets to node ports on loopback addresses",
    ),
    (
        "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
        COUNTER,
        IP_FAMILY,
        "Failed attempts to bring nftables rules up to date",
    ),
    (
        "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total",
        COUNTER,
        IP_FAMILY,
        "Failed attempts to remove nftables objects that no Service uses any more",
    ),
    (
        "portolan_failed_removals_total",
        COUNTER,
        IP_FAMILY,
        "Failed attempts to remove kernel objects that no Service uses any more, in whatever mode",
    ),
    (
        "portolan_mode_current",
        GAUGE,
        &["what"],
        "What the mode counts of its own now, such as sessions of the userspace mode",
    ),
    (
        "portolan_mode_total",
        COUNTER,
        &["what"],
        "What the mode has counted of its own so far, such as sessions that no endpoint took",
    ),
];

/// Metrics that backends report under their own names. Clones share the same values.
#[derive(Clone, Debug, Default)]
pub struct BackendMetrics(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// By name: all that was reported so far, and the known ones.
    families: BTreeMap<String, Family>,
    /// Names of the proxy's other metrics.
    reserved: Vec<String>,
}

#[derive(Debug)]
struct Family {
    kind: &'static str,
    help: String,
    values: BTreeMap<Labels, Value>,
}

type Labels = Vec<(String, String)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Value {
    value: u64,
    /// Whether it counts only until the page is read again.
    is_momentary: bool,
}

/// A reported metric that is not exported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a backend's metric {name} is not exported: {reason}")]
pub struct Unexported {
    /// Its name.
    pub name: String,
    /// Why not.
    pub reason: String,
}

impl BackendMetrics {
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let families = KNOWN.iter().map(|(name, kind, _, help)| {
            let help = Definition::alpha(name, help).help();
            ((*name).to_owned(), Family { kind, help, values: BTreeMap::new() })
        });
        let state = State { families: families.collect(), reserved: Vec::new() };
        let metrics = Self(Arc::new(Mutex::new(state)));
        let described = KNOWN
            .iter()
            .map(|(name, kind, labels, help)| Definition::alpha(name, help).describe(kind, labels, &[]));
        definitions
            .publish(Box::new(metrics.clone()), described)
            .map_err(|source| MetricsError::Define { name: "of backends".to_owned(), source })?;
        Ok(metrics)
    }

    /// These names belong to other metrics.
    pub(crate) fn reserve<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut state = self.state();
        let names = names.into_iter().filter(|name| !state.families.contains_key(*name));
        state.reserved = names.map(str::to_owned).collect();
    }

    /// What an apply reported, or an error, in one IP family. Gives what cannot be exported.
    pub fn report(&self, family: &str, metrics: &[Metric]) -> Vec<Unexported> {
        let mut state = self.state();
        let rejected = metrics.iter().map(|metric| state.take(metric, Some(family)));
        rejected.filter_map(Result::err).collect()
    }

    /// What a mode counts now; what earlier lists had and this one does not is no longer shown. Gives what cannot be
    /// exported.
    pub fn replace(&self, metrics: &[Metric]) -> Vec<Unexported> {
        let mut state = self.state();
        for family in state.families.values_mut() {
            family.values.retain(|_, value| !value.is_momentary);
        }
        metrics.iter().map(|metric| state.take(metric, None)).filter_map(Result::err).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, metric: &Metric, ip_family: Option<&str>) -> Result<(), Unexported> {
        let Metric { name, help, labels, value } = metric;
        let rejected = |reason: &str| Unexported { name: name.to_string(), reason: reason.to_owned() };
        let kind = match value {
            MetricValue::Gauge(_) => GAUGE,
            MetricValue::Increment(_) | MetricValue::Total(_) => COUNTER,
        };
        let own = labels.iter().map(|(label, value)| ((*label).to_owned(), value.to_string()));
        let added = ip_family.map(|family| (IP_FAMILY[0].to_owned(), family.to_owned()));
        let mut labels: Labels = own.chain(added).collect();
        labels.sort_unstable();
        if self.reserved.iter().any(|reserved| *reserved == **name) {
            return Err(rejected("the proxy has a metric of this name"));
        }
        let family = match self.families.get_mut(&**name) {
            Some(family) => family,
            None => {
                // Says what is wrong with the name or a label.
                let opts = Opts::new(&**name, &**help).const_labels(labels.iter().cloned().collect());
                opts.describe().map_err(|error| rejected(&error.to_string()))?;
                let family = Family { kind, help: help.to_string(), values: BTreeMap::new() };
                self.families.entry(name.to_string()).or_insert(family)
            }
        };
        if family.kind != kind {
            return Err(rejected(&format!("it was reported as a {} before", family.kind)));
        }
        let is_momentary = ip_family.is_none();
        let known = family.values.entry(labels).or_insert(Value { value: 0, is_momentary });
        known.value = match *value {
            MetricValue::Gauge(value) | MetricValue::Total(value) => value,
            MetricValue::Increment(value) => known.value.saturating_add(value),
        };
        Ok(())
    }
}

impl Family {
    /// What the page shows, series by series; invalid ones are left out.
    fn collect(&self, name: &str) -> impl Iterator<Item = MetricFamily> {
        self.values.iter().filter_map(move |(labels, Value { value, .. })| {
            let opts = Opts::new(name, &self.help).const_labels(labels.iter().cloned().collect());
            let shown = if self.kind == GAUGE {
                let gauge = Gauge::with_opts(opts).ok()?;
                gauge.set(number(usize::try_from(*value).unwrap_or(usize::MAX)));
                gauge.collect()
            } else {
                let counter = IntCounter::with_opts(opts).ok()?;
                counter.inc_by(*value);
                counter.collect()
            };
            shown.into_iter().next()
        })
    }
}

impl Collector for BackendMetrics {
    /// None: names are not known before they are reported.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let state = self.state();
        state.families.iter().flat_map(|(name, family)| family.collect(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Build, Metrics};

    fn page(metrics: &Metrics) -> Vec<String> {
        metrics.render().unwrap().lines().filter(|line| line.contains("mine_")).map(str::to_owned).collect()
    }

    fn new_metrics() -> Metrics {
        Metrics::new(&Build { git_version: "v1".into(), version: "1" }).unwrap()
    }

    #[test]
    fn metrics_of_any_mode_are_shown_under_their_names_and_labels() {
        let metrics = new_metrics();
        let reported = [
            Metric::gauge("mine_lines", 4).with_label("file", "list").with_help("Lines in a file"),
            Metric::increment("mine_writes_total", 2),
        ];
        assert_eq!(metrics.backend.report("IPv4", &reported), []);
        assert_eq!(metrics.backend.report("IPv4", &reported), []);
        assert_eq!(metrics.backend.report("IPv6", &reported[1..]), []);
        assert_eq!(
            page(&metrics),
            [
                "# HELP mine_lines Lines in a file",
                "# TYPE mine_lines gauge",
                "mine_lines{file=\"list\",ip_family=\"IPv4\"} 4",
                "# TYPE mine_writes_total counter",
                "mine_writes_total{ip_family=\"IPv4\"} 4",
                "mine_writes_total{ip_family=\"IPv6\"} 2",
            ]
        );
    }

    #[test]
    fn totals_are_shown_as_they_were_last_counted_and_not_where_nothing_counts_them() {
        let metrics = new_metrics();
        // Also where it is smaller, as after the kernel's counter was made anew.
        for total in [0, 7, 9, 3] {
            assert_eq!(metrics.backend.replace(&[Metric::total("mine_packets_total", total)]), []);
            assert_eq!(page(&metrics).last(), Some(&format!("mine_packets_total {total}")));
        }
        assert_eq!(metrics.backend.replace(&[]), []);
        assert_eq!(page(&metrics), [""; 0]);
    }

    #[test]
    fn what_cannot_be_exported_is_named_with_the_reason() {
        let metrics = new_metrics();
        assert_eq!(metrics.backend.replace(&[Metric::gauge("mine_files", 1)]), []);
        let faulty = [
            Metric::gauge("mine files", 1),
            Metric::gauge("mine_others", 1).with_label("a label", "x"),
            Metric::gauge("portolan_proxy_mode", 1),
            Metric::increment("mine_files", 1),
        ];
        let rejected = metrics.backend.replace(&faulty);
        let names: Vec<_> = rejected.iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(names, ["mine files", "mine_others", "portolan_proxy_mode", "mine_files"]);
        assert_eq!(rejected[2].reason, "the proxy has a metric of this name");
        assert_eq!(rejected[3].reason, "it was reported as a gauge before");
        assert_eq!(page(&metrics), [""; 0]);
    }
}
