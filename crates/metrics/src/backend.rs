//! Metrics that backends report under their own names.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_core::backend::{Metric, MetricValue};
use prometheus::{Error, IntCounterVec, IntGaugeVec, Registry};

use crate::definition::{Labels, raise};
use crate::sync::IP_FAMILY;

/// The help of metrics that the modes of this proxy report.
const HELP: [(&str, &str); 11] = [
    ("kubeproxy_sync_proxy_rules_iptables_total", "Rules in the chains of the proxy, by table (filter, nat)"),
    ("kubeproxy_sync_proxy_rules_iptables_last", "Rules that the last sync wrote, by table (filter, nat)"),
    ("kubeproxy_sync_proxy_rules_iptables_restore_failures_total", "Failed runs of iptables-restore"),
    (
        "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
        "Failed runs of iptables-restore with changed rules only; a full sync follows each",
    ),
    (
        "kubeproxy_iptables_ct_state_invalid_dropped_packets_total",
        "Packets dropped because connection tracking considers them invalid",
    ),
    (
        "kubeproxy_iptables_localhost_nodeports_accepted_packets_total",
        "Packets accepted to node ports on loopback addresses",
    ),
    ("kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "Failed nftables syncs"),
    (
        "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total",
        "Failed attempts to remove nftables objects that are no longer used",
    ),
    (
        "portolan_failed_removals_total",
        "Failed attempts to remove kernel objects that are no longer used, in any mode",
    ),
    ("portolan_mode_current", "Current value of a gauge of the mode, such as sessions of the userspace mode"),
    (
        "portolan_mode_total",
        "Value of a counter of the mode, such as sessions of the userspace mode that no endpoint accepted",
    ),
];

/// The help of a metric that comes without one, which Prometheus does not allow.
const NO_HELP: &str = "Reported by the mode";

/// Metrics that backends report under their own names. Clones share the same values.
#[derive(Clone, Debug)]
pub struct BackendMetrics {
    registry: Registry,
    families: Arc<Mutex<BTreeMap<String, Family>>>,
}

/// The values of one metric, by its labels.
#[derive(Debug)]
struct Family {
    values: Values,
    /// The label values that the last list of [`BackendMetrics::replace`] had.
    current: BTreeSet<Vec<(String, String)>>,
}

#[derive(Debug)]
enum Values {
    Counters(IntCounterVec),
    Gauges(IntGaugeVec),
}

/// A reported metric that is not exported.
#[derive(Debug, thiserror::Error)]
#[error("metric {name} of a backend is not exported: {reason}")]
pub struct Unexported {
    /// Its name.
    pub name: String,
    /// Why not.
    pub reason: String,
}

impl BackendMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), families: Arc::default() }
    }

    /// An apply or an error reported these, in one IP family. Returns what cannot be exported.
    pub fn report(&self, family: &str, metrics: &[Metric]) -> Vec<Unexported> {
        let mut families = self.lock();
        let export = |metric| self.export(&mut families, metric, Some(family)).err();
        metrics.iter().filter_map(export).collect()
    }

    /// A mode has these values now. Series of earlier lists that this one does not have are no longer exported. Returns
    /// what cannot be exported.
    pub fn replace(&self, metrics: &[Metric]) -> Vec<Unexported> {
        let mut families = self.lock();
        let mut earlier = BTreeMap::new();
        for (name, family) in &mut *families {
            earlier.insert(name.clone(), std::mem::take(&mut family.current));
        }
        let export = |metric| self.export(&mut families, metric, None).err();
        let unexported = metrics.iter().filter_map(export).collect();
        for (name, earlier) in earlier {
            let Family { values, current } = &families[&name];
            earlier.difference(current).for_each(|labels| values.remove(labels));
        }
        unexported
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn export(
        &self,
        families: &mut BTreeMap<String, Family>,
        metric: &Metric,
        ip_family: Option<&str>,
    ) -> Result<(), Unexported> {
        let unexported = |error: Error| {
            let reason = match error {
                Error::AlreadyReg => "the proxy has a metric of this name".to_owned(),
                Error::Msg(reason) => reason,
                error => error.to_string(),
            };
            Unexported { name: metric.name.to_string(), reason }
        };
        let own = metric.labels.iter().map(|(label, value)| (*label, &**value));
        let labels: BTreeMap<&str, &str> =
            own.chain(ip_family.map(|family| (IP_FAMILY[0], family))).collect();
        let family = match families.entry(metric.name.to_string()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let values = self.define(metric, &labels).map_err(unexported)?;
                new.insert(Family { values, current: BTreeSet::new() })
            }
        };
        family.values.set(&labels, metric.value).map_err(unexported)?;
        if ip_family.is_none() {
            let owned = labels.into_iter().map(|(label, value)| (label.to_owned(), value.to_owned()));
            family.current.insert(owned.collect());
        }
        Ok(())
    }

    fn define(&self, metric: &Metric, labels: &BTreeMap<&str, &str>) -> Result<Values, Error> {
        let names: Vec<&str> = labels.keys().copied().collect();
        let opts = match HELP.into_iter().find(|(name, _)| *name == metric.name) {
            Some((name, help)) => Labels::new(&self.registry, &names).opts(name, help),
            None if metric.help.is_empty() => prometheus::Opts::new(&*metric.name, NO_HELP),
            None => prometheus::Opts::new(&*metric.name, &*metric.help),
        };
        Ok(match metric.value {
            MetricValue::Gauge(_) => {
                let gauges = IntGaugeVec::new(opts, &names)?;
                self.registry.register(Box::new(gauges.clone()))?;
                Values::Gauges(gauges)
            }
            MetricValue::Increment(_) | MetricValue::Total(_) => {
                let counters = IntCounterVec::new(opts, &names)?;
                self.registry.register(Box::new(counters.clone()))?;
                Values::Counters(counters)
            }
        })
    }
}

impl Values {
    /// # Errors
    /// The metric was reported with other labels, or as another kind.
    fn set(&self, labels: &BTreeMap<&str, &str>, value: MetricValue) -> Result<(), Error> {
        let labels: HashMap<&str, &str> = labels.iter().map(|(label, value)| (*label, *value)).collect();
        match (self, value) {
            (Self::Gauges(gauges), MetricValue::Gauge(value)) => {
                gauges.get_metric_with(&labels)?.set(i64::try_from(value).unwrap_or(i64::MAX));
            }
            (Self::Counters(counters), MetricValue::Increment(value)) => {
                counters.get_metric_with(&labels)?.inc_by(value);
            }
            (Self::Counters(counters), MetricValue::Total(total)) => {
                let counter = counters.get_metric_with(&labels)?;
                // The kernel's counter was made anew, for example. Prometheus takes a smaller value for a counter that
                // starts over.
                if counter.get() > total {
                    counter.reset();
                }
                raise(&counter, total);
            }
            (Self::Gauges(_), _) => return Err(Error::Msg("it was reported as a gauge before".into())),
            (Self::Counters(_), _) => return Err(Error::Msg("it was reported as a counter before".into())),
        }
        Ok(())
    }

    fn remove(&self, labels: &[(String, String)]) {
        let labels: HashMap<&str, &str> = labels.iter().map(|(label, value)| (&**label, &**value)).collect();
        // Neither fails: the series exists.
        let _ = match self {
            Self::Gauges(gauges) => gauges.remove(&labels),
            Self::Counters(counters) => counters.remove(&labels),
        };
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
        assert!(metrics.backend.report("IPv4", &reported).is_empty());
        assert!(metrics.backend.report("IPv4", &reported).is_empty());
        assert!(metrics.backend.report("IPv6", &reported[1..]).is_empty());
        assert_eq!(
            page(&metrics),
            [
                "# HELP mine_lines Lines in a file",
                "# TYPE mine_lines gauge",
                "mine_lines{file=\"list\",ip_family=\"IPv4\"} 4",
                "# HELP mine_writes_total Reported by the mode",
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
            assert!(metrics.backend.replace(&[Metric::total("mine_packets_total", total)]).is_empty());
            assert_eq!(page(&metrics).last(), Some(&format!("mine_packets_total {total}")));
        }
        assert!(metrics.backend.replace(&[]).is_empty());
        assert_eq!(page(&metrics), [""; 0]);
    }

    #[test]
    fn what_cannot_be_exported_is_named_with_the_reason() {
        let metrics = new_metrics();
        assert!(metrics.backend.replace(&[Metric::gauge("mine_files", 1)]).is_empty());
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
