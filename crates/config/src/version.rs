//! The version that the binary reports.
//!
//! Scripts and dashboards read and compare kube-proxy's Kubernetes version, so it is the version of the kube-proxy whose
//! behaviour Portolan follows. Portolan's own version is the build metadata, after the `+`, which is never compared.

use portolan_core::GIT_VERSION;
use semver::Version;

/// The Kubernetes release whose kube-proxy Portolan replaces, as `major.minor.patch`.
const FOLLOWED: [u64; 3] = [1, 36, 2];

/// The minor release before it; the only one that `--show-hidden-metrics-for-version` takes.
pub(crate) const PREVIOUS_MINOR: &str = "1.35";

/// The line that `--version` prints.
pub(crate) fn line() -> String {
    format!("Kubernetes {GIT_VERSION}\n")
}

/// The line that `--version=raw` prints: all version information.
pub(crate) fn raw() -> String {
    let [major, minor, _] = FOLLOWED;
    format!(
        "version.Info{{Major:\"{major}\", Minor:\"{minor}\", GitVersion:\"{GIT_VERSION}\", \
         Compiler:\"rustc\", Platform:\"{}/{}\"}}\n",
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

/// Whether a version may be reported instead: a semantic version with a `v` in front and the
/// `major.minor.patch` that this binary follows, so that only labels can differ.
pub(crate) fn may_be_reported(version: &str) -> bool {
    let version = version.strip_prefix('v').and_then(|version| Version::parse(version).ok());
    version.is_some_and(|version| [version.major, version.minor, version.patch] == FOLLOWED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_starts_with_the_kubernetes_release() {
        let [major, minor, patch] = FOLLOWED;
        assert!(GIT_VERSION.starts_with(&format!("v{major}.{minor}.{patch}+portolan.")));
        assert_eq!(PREVIOUS_MINOR, format!("{major}.{}", minor - 1));
        assert_eq!(line(), format!("Kubernetes {GIT_VERSION}\n"));
        assert!(raw().contains(GIT_VERSION), "{}", raw());
    }

    #[test]
    fn only_a_version_of_the_same_release_may_be_reported_instead() {
        for version in ["v1.36.2", "v1.36.2-gke.7", "v1.36.2+k3s1", "v1.36.2-rc.1+a.b", GIT_VERSION] {
            assert!(may_be_reported(version), "{version}");
        }
        let rejected = [
            "1.36.2",
            "v1.36",
            "v1.36.3",
            "v1.36.2.1",
            "v01.36.2",
            "v1.+36.2",
            "v1.36.2-",
            "v1.36.2+",
            "v1.36.2-a..b",
            "v1.36.2rc",
            "v1.36.2+a+b",
            "v",
            "",
        ];
        for version in rejected {
            assert!(!may_be_reported(version), "{version}");
        }
    }
}
