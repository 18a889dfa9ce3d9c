//! Which version we say we are.
//!
//! Scripts and dashboards read a Kubernetes version from kube-proxy and compare it, so
//! ours is the version of the kube-proxy whose behaviour we follow; which build of ours
//! it is stands behind the `+`, where semantic versioning puts what must not be compared.

use portolan_core::GIT_VERSION;

/// The Kubernetes release whose kube-proxy we stand in for, as `major.minor.patch`.
const FOLLOWED: [u64; 3] = [1, 36, 2];

/// The minor release before ours; the only one that `--show-hidden-metrics-for-version` takes.
pub(crate) const PREVIOUS_MINOR: &str = "1.35";

/// The line that `--version` prints.
pub(crate) fn line() -> String {
    format!("Kubernetes {GIT_VERSION}\n")
}

/// What `--version=raw` prints: everything that is known of this build, in one line.
pub(crate) fn raw() -> String {
    let [major, minor, _] = FOLLOWED;
    format!(
        "version.Info{{Major:\"{major}\", Minor:\"{minor}\", GitVersion:\"{GIT_VERSION}\", \
         Compiler:\"rustc\", Platform:\"{}/{}\"}}\n",
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

/// Whether a version may be reported instead of ours: a semantic version with a `v` in front
/// whose `major.minor.patch` is the one we follow, so that only labels can differ.
pub(crate) fn may_stand_for_ours(version: &str) -> bool {
    let Some(rest) = version.strip_prefix('v') else { return false };
    let (numbers, label) = match rest.find(['-', '+']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let numbers: Vec<Option<u64>> = numbers.split('.').map(number).collect();
    numbers == FOLLOWED.map(Some) && is_label(label)
}

/// Digits without a zero in front, as semantic versions have them.
fn number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| canonical)
}

/// Nothing, or `-pre.release`, `+build` or both, of dot-separated words.
fn is_label(label: &str) -> bool {
    let (pre, build) = label.split_once('+').map_or((label, None), |(pre, build)| (pre, Some(build)));
    let is_words = |text: &str| {
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        text.split('.').all(is_word)
    };
    (pre.is_empty() || pre.strip_prefix('-').is_some_and(is_words)) && build.is_none_or(is_words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_begins_with_the_release_that_is_followed() {
        let [major, minor, patch] = FOLLOWED;
        assert!(GIT_VERSION.starts_with(&format!("v{major}.{minor}.{patch}+portolan.")));
        assert_eq!(PREVIOUS_MINOR, format!("{major}.{}", minor - 1));
        assert_eq!(line(), format!("Kubernetes {GIT_VERSION}\n"));
        assert!(raw().contains(GIT_VERSION), "{}", raw());
    }

    #[test]
    fn only_a_version_of_the_same_release_may_be_reported_instead() {
        for version in ["v1.36.2", "v1.36.2-gke.7", "v1.36.2+k3s1", "v1.36.2-rc.1+a.b", GIT_VERSION] {
            assert!(may_stand_for_ours(version), "{version}");
        }
        let refused = [
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
        for version in refused {
            assert!(!may_stand_for_ours(version), "{version}");
        }
    }
}
