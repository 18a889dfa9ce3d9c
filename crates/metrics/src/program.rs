//! Metrics of the program itself: its build, feature gates, configuration file and health server.

use std::time::SystemTime;

use prometheus::{GaugeVec, IntCounterVec, Registry};

use crate::definition::{Labels, MetricsError, unix_seconds};

/// The compiler that built the program, such as `rustc 1.89.0`. It stands where kube-proxy has its version of Go.
pub const COMPILER: &str = env!("PORTOLAN_RUSTC");

/// The versions of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The version of Kubernetes that it replaces kube-proxy of, with its own as build metadata:
    /// `v1.36.2+portolan.0.1.0`.
    pub git_version: String,
    /// Its own version: `0.1.0`.
    pub version: &'static str,
}

/// The labels of `kubernetes_build_info` with their values. An unknown value is empty, which to Prometheus is the same
/// as absent.
fn build_labels(build: &Build) -> [(&'static str, &str); 9] {
    let mut parts = build.git_version.trim_start_matches('v').split('.');
    let mut part = || parts.next().unwrap_or_default();
    [
        ("major", part()),
        ("minor", part()),
        ("git_version", &build.git_version),
        ("git_commit", option_env!("PORTOLAN_GIT_COMMIT").unwrap_or_default()),
        ("git_tree_state", option_env!("PORTOLAN_GIT_TREE_STATE").unwrap_or_default()),
        ("build_date", option_env!("PORTOLAN_BUILD_DATE").unwrap_or_default()),
        ("go_version", COMPILER),
        ("compiler", "rustc"),
        ("platform", PLATFORM),
    ]
}

/// Operating system and processor, by Go's names.
const PLATFORM: &str = if cfg!(target_arch = "x86_64") {
    "linux/amd64"
} else if cfg!(target_arch = "aarch64") {
    "linux/arm64"
} else {
    // Go and Rust have the same names for the other processors that Kubernetes supports.
    concat!("linux/", env!("PORTOLAN_ARCH"))
};

/// Defines `portolan_build_info` and `kubernetes_build_info`, which are always 1.
pub(crate) fn define_build(registry: &Registry, build: &Build) -> Result<(), MetricsError> {
    let own = Labels::new(registry, &["version"]);
    let own = own.gauges("portolan_build_info", "The version that runs; the value is always 1")?;
    own.with_label_values(&[build.version]).set(1.0);
    let (names, values): (Vec<_>, Vec<_>) = build_labels(build).into_iter().unzip();
    let kubernetes = Labels::new(registry, &names).gauges(
        "kubernetes_build_info",
        "The version of Kubernetes whose kube-proxy the program replaces; the value is always 1",
    )?;
    kubernetes.with_label_values(&values).set(1.0);
    Ok(())
}

/// Defines the metric of the feature gates.
pub(crate) fn define_features(registry: &Registry) -> Result<GaugeVec, MetricsError> {
    let help = "Feature gates with their stage; 1 if enabled, 0 if disabled";
    Labels::new(registry, &["name", "stage"]).beta().gauges("kubernetes_feature_enabled", help)
}

/// Metrics of reloads of the configuration file. Nothing is shown before the first.
#[derive(Clone, Debug)]
pub struct ConfigMetrics {
    reloads: IntCounterVec,
    last_successful: GaugeVec,
    last_success: GaugeVec,
}

impl ConfigMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let none = Labels::new(registry, &[]);
        Ok(Self {
            reloads: Labels::new(registry, &["result"]).counters(
                "portolan_config_reloads_total",
                "Reloads of the configuration file after a change, by result (success, failure)",
            )?,
            last_successful: none.gauges(
                "portolan_config_last_reload_successful",
                "1 if the last reload of the configuration file succeeded, otherwise 0",
            )?,
            last_success: none.gauges(
                "portolan_config_last_reload_success_timestamp_seconds",
                "Time of the last successful reload of the configuration file, as Unix time",
            )?,
        })
    }

    /// The file changed and was reloaded at `when`.
    pub fn reloaded(&self, when: SystemTime) {
        self.ended("success", 1.0);
        self.last_success.with_label_values::<&str>(&[]).set(unix_seconds(when));
    }

    /// The file changed and cannot be read or is not valid.
    pub fn reload_failed(&self) {
        self.ended("failure", 0.0);
    }

    fn ended(&self, result: &str, successful: f64) {
        self.reloads.with_label_values(&[result]).inc();
        self.last_successful.with_label_values::<&str>(&[]).set(successful);
    }
}

/// Metrics of the health server.
#[derive(Clone, Debug)]
pub struct ProbeMetrics {
    healthz: IntCounterVec,
    livez: IntCounterVec,
    readyz: IntCounterVec,
}

impl ProbeMetrics {
    pub(crate) fn define(registry: &Registry) -> Result<Self, MetricsError> {
        let code = Labels::new(registry, &["code"]);
        Ok(Self {
            healthz: code.counters("kubeproxy_proxy_healthz_total", "Responses of /healthz")?,
            livez: code.counters("kubeproxy_proxy_livez_total", "Responses of /livez")?,
            readyz: code.counters("portolan_proxy_readyz_total", "Responses of /readyz")?,
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
