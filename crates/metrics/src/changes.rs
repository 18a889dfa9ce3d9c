//! About changes of Services and endpoints that have come in.

use prometheus::{IntCounter, IntGauge};

use crate::definition::{Definition, Definitions, MetricsError};

/// About changes of Services and endpoints that have come in.
///
/// What is pending counts events: two changes of one Service before the rules follow
/// are two. (kube-proxy counts changed Services, but every change of a slice.)
#[derive(Clone, Debug)]
pub struct ChangeMetrics {
    endpoints_total: IntCounter,
    endpoints_pending: IntGauge,
    services_total: IntCounter,
    services_pending: IntGauge,
}

impl ChangeMetrics {
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let counter = |name, help| Definition::alpha(name, help).counter(definitions);
        let gauge = |name, help| Definition::alpha(name, help).gauge(definitions);
        Ok(Self {
            endpoints_total: counter(
                "kubeproxy_sync_proxy_rules_endpoint_changes_total",
                "Changes of EndpointSlices that have come in",
            )?,
            endpoints_pending: gauge(
                "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
                "Changes of EndpointSlices that the rules do not follow yet",
            )?,
            services_total: counter(
                "kubeproxy_sync_proxy_rules_service_changes_total",
                "Changes of Services that have come in, once for each IP family served",
            )?,
            services_pending: gauge(
                "kubeproxy_sync_proxy_rules_service_changes_pending",
                "Changes of Services that the rules do not follow yet",
            )?,
        })
    }

    /// This many EndpointSlices were added, changed or deleted.
    pub fn endpoint_slices(&self, changes: usize) {
        self.endpoints_total.inc_by(u64::try_from(changes).unwrap_or(u64::MAX));
        self.endpoints_pending.add(i64::try_from(changes).unwrap_or(i64::MAX));
    }

    /// This many Services were added, changed or deleted; each of `families` takes note of all.
    pub fn services(&self, changes: usize, families: usize) {
        self.services_total.inc_by(u64::try_from(changes * families).unwrap_or(u64::MAX));
        self.services_pending.add(i64::try_from(changes).unwrap_or(i64::MAX));
    }

    /// The rules follow all that has come in.
    pub fn settled(&self) {
        self.endpoints_pending.set(0);
        self.services_pending.set(0);
    }
}
