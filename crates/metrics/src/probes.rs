//! About the health server.

use prometheus::IntCounterVec;

use crate::definition::{Definition, Definitions, MetricsError};

/// About the health server.
#[derive(Clone, Debug)]
pub struct ProbeMetrics {
    healthz: IntCounterVec,
    livez: IntCounterVec,
    readyz: IntCounterVec,
}

impl ProbeMetrics {
    pub(crate) fn define(definitions: &Definitions) -> Result<Self, MetricsError> {
        let counters = |name, help| Definition::alpha(name, help).counters(definitions, &["code"]);
        Ok(Self {
            healthz: counters("kubeproxy_proxy_healthz_total", "Answers of the health server on /healthz")?,
            livez: counters("kubeproxy_proxy_livez_total", "Answers of the health server on /livez")?,
            readyz: counters("portolan_proxy_readyz_total", "Answers of the health server on /readyz")?,
        })
    }

    /// `/healthz` was answered with this HTTP status.
    pub fn healthz(&self, status: u16) {
        self.healthz.with_label_values(&[&status.to_string()]).inc();
    }

    /// `/livez` was answered with this HTTP status.
    pub fn livez(&self, status: u16) {
        self.livez.with_label_values(&[&status.to_string()]).inc();
    }

    /// `/readyz` was answered with this HTTP status.
    pub fn readyz(&self, status: u16) {
        self.readyz.with_label_values(&[&status.to_string()]).inc();
    }
}
