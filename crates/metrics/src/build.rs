//! About the program itself.

use crate::definition::{Definition, Definitions, MetricsError};

/// The compiler that built the program, such as `rustc 1.89.0`. It stands where kube-proxy
/// tells its version of Go.
pub const COMPILER: &str = env!("PORTOLAN_RUSTC");

/// What the program says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The version of Kubernetes that it stands in for, with its own as build metadata:
    /// `v1.36.2+portolan.0.1.0`.
    pub git_version: String,
    /// Its own version: `0.1.0`.
    pub version: &'static str,
}

/// The labels of `kubernetes_build_info`, with their values. What is not known is empty,
/// which to Prometheus is the same as not being there.
fn labels(build: &Build) -> [(&'static str, &str); 9] {
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

/// Operating system and processor, in Go's names.
const PLATFORM: &str = if cfg!(target_arch = "x86_64") {
    "linux/amd64"
} else if cfg!(target_arch = "aarch64") {
    "linux/arm64"
} else {
    // Go and Rust agree on the others that Kubernetes runs on, as far as they have them.
    concat!("linux/", env!("PORTOLAN_ARCH"))
};

/// Defines `portolan_build_info` and `kubernetes_build_info`, which are always 1 and tell
/// about the program in their labels.
pub(crate) fn define(definitions: &Definitions, build: &Build) -> Result<(), MetricsError> {
    let own = Definition::alpha("portolan_build_info", "The version that runs; the value is always 1");
    own.gauges(definitions, &["version"])?.with_label_values(&[build.version]).set(1.0);
    let (names, values): (Vec<_>, Vec<_>) = labels(build).into_iter().unzip();
    let kubernetes = Definition::alpha(
        "kubernetes_build_info",
        "The version of Kubernetes that the program stands in for; the value is always 1",
    );
    kubernetes.gauges(definitions, &names)?.with_label_values(&values).set(1.0);
    Ok(())
}
