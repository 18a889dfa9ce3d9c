//! The metrics page, as text in Prometheus' format.

use std::collections::HashMap;

/// Set by each successful sync, in seconds since 1970.
const LAST_SYNC: &str = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";

/// The values of one look at the metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Page(HashMap<String, f64>);

impl Page {
    /// Reads `series value` lines; others are comments.
    pub(crate) fn parse(text: &str) -> Self {
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(value).collect())
    }

    /// One series by its full name with labels.
    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// All series of a name together, whatever their labels; nothing when there is none.
    pub(crate) fn sum(&self, name: &str) -> Option<f64> {
        let of_name = |series: &str| series.split('{').next() == Some(name);
        let values: Vec<f64> =
            self.0.iter().filter(|(series, _)| of_name(series)).map(|(_, value)| *value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// By how much all series of a name together grew since `before`, counting absent ones as zero.
    pub(crate) fn growth(&self, before: &Self, name: &str) -> f64 {
        self.sum(name).unwrap_or_default() - before.sum(name).unwrap_or_default()
    }

    /// When the later of the families came into force last, in seconds since 1970; nothing until both did.
    pub(crate) fn synced_at(&self) -> Option<f64> {
        Some(self.synced_at_of("IPv4")?.max(self.synced_at_of("IPv6")?))
    }

    /// When a family came into force last, in seconds since 1970; nothing until it did.
    pub(crate) fn synced_at_of(&self, family: &str) -> Option<f64> {
        self.get(&format!("{LAST_SYNC}{{ip_family=\"{family}\"}}")).filter(|at| *at > 0.0)
    }

    /// The mean of what a histogram observed since `before`; nothing when it observed nothing.
    pub(crate) fn mean(&self, before: &Self, histogram: &str) -> Option<f64> {
        let count = self.growth(before, &format!("{histogram}_count"));
        (count > 0.0).then(|| self.growth(before, &format!("{histogram}_sum")) / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# HELP a_total things\n# TYPE a_total counter\n\
        a_total{ip_family=\"IPv4\"} 3\na_total{ip_family=\"IPv6\"} 4\na_total_of_others 9\n";

    #[test]
    fn series_are_found_by_name_and_labels_and_added_up_by_name() {
        let page = Page::parse(BEFORE);
        assert_eq!(page.get("a_total{ip_family=\"IPv6\"}"), Some(4.0));
        assert_eq!(page.sum("a_total"), Some(7.0));
        assert_eq!(page.sum("b_total"), None);
    }

    #[test]
    fn proxy_is_synced_since_the_later_family() {
        let series = |family: &str, at: &str| format!("{LAST_SYNC}{{ip_family=\"{family}\"}} {at}\n");
        let page = |at: &str| Page::parse(&(series("IPv4", "7.5") + &series("IPv6", at)));
        assert_eq!(page("7.25").synced_at(), Some(7.5));
        assert_eq!(page("8").synced_at(), Some(8.0));
        assert_eq!(page("0").synced_at(), None);
    }

    #[test]
    fn growth_and_means_are_of_what_came_since() {
        let before = Page::parse("h_sum 2\nh_count 4\n");
        let after = Page::parse("h_sum 3.5\nh_count 7\na_total 1e3\n");
        assert!((after.growth(&before, "a_total") - 1000.0).abs() < f64::EPSILON);
        assert_eq!(after.mean(&before, "h"), Some(0.5));
        assert_eq!(before.mean(&before, "h"), None);
    }
}
