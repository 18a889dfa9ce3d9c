//! Which objects to ask for, and how to ask.

use std::time::Duration;

use form_urlencoded::Serializer;

/// Objects on one page of a list; what Kubernetes' own clients ask for.
const PAGE: usize = 500;

/// The objects of a collection that are of interest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selection {
    fields: Option<String>,
    labels: Option<&'static str>,
}

impl Selection {
    /// All of them.
    pub(super) fn everything() -> Self {
        Self::default()
    }

    /// This node's own Node.
    pub(super) fn node(name: &str) -> Self {
        Self { fields: Some(format!("metadata.name={name}")), labels: None }
    }

    /// Services with a cluster IP that no other proxy takes care of.
    pub(super) fn services() -> Self {
        Self {
            fields: Some("spec.clusterIP!=None".to_owned()),
            labels: Some("!service.kubernetes.io/service-proxy-name"),
        }
    }

    /// Slices of Services that have a cluster IP.
    pub(super) fn endpoint_slices() -> Self {
        Self { fields: None, labels: Some("!service.kubernetes.io/headless") }
    }

    fn query(&self) -> Serializer<'static, String> {
        let mut query = Serializer::new(String::new());
        if let Some(fields) = &self.fields {
            query.append_pair("fieldSelector", fields);
        }
        if let Some(labels) = self.labels {
            query.append_pair("labelSelector", labels);
        }
        query
    }

    /// The query for a page of a list.
    pub(super) fn list(&self, page: &Page<'_>) -> String {
        let mut query = self.query();
        match page {
            Page::First(version) => {
                query.append_pair("limit", &PAGE.to_string());
                match version {
                    // From the server's cache, whatever it holds.
                    Known::Nothing => query.append_pair("resourceVersion", "0"),
                    // Never from a cache that is behind what we know already.
                    Known::Version(version) => query
                        .append_pair("resourceVersion", version)
                        .append_pair("resourceVersionMatch", "NotOlderThan"),
                    Known::Useless => &mut query,
                };
            }
            // A token brings its version along; naming one as well is an error.
            Page::Next(token) => {
                query.append_pair("limit", &PAGE.to_string()).append_pair("continue", token);
            }
            Page::Whole => {}
        }
        query.finish()
    }

    /// The query for a watch that begins with all objects.
    pub(super) fn streamed_list(&self, known: Known<'_>, timeout: Duration) -> String {
        let mut query = self.query();
        query.append_pair("watch", "true").append_pair("sendInitialEvents", "true");
        query.append_pair("resourceVersionMatch", "NotOlderThan").append_pair("allowWatchBookmarks", "true");
        if let Known::Version(version) = known {
            query.append_pair("resourceVersion", version);
        }
        query.append_pair("timeoutSeconds", &timeout.as_secs().to_string());
        query.finish()
    }

    /// The query for a watch of what happens after `version`.
    pub(super) fn watch(&self, version: &str, timeout: Duration) -> String {
        let mut query = self.query();
        query.append_pair("watch", "true").append_pair("allowWatchBookmarks", "true");
        query.append_pair("resourceVersion", version);
        query.append_pair("timeoutSeconds", &timeout.as_secs().to_string());
        query.finish()
    }
}

/// A page of a list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Page<'a> {
    /// The first.
    First(Known<'a>),
    /// The one that this token leads to.
    Next(&'a str),
    /// No page: everything in one answer, as of now.
    Whole,
}

/// Which version of a collection we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known<'a> {
    /// None yet.
    Nothing,
    /// This one; a list must not be older.
    Version(&'a str),
    /// One that the server does not know any more; only its newest will do.
    Useless,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(query: &str) -> Vec<String> {
        form_urlencoded::parse(query.as_bytes()).map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn selectors_are_those_of_kube_proxy() {
        let services = decoded(&Selection::services().list(&Page::Whole));
        assert_eq!(
            services,
            ["fieldSelector=spec.clusterIP!=None", "labelSelector=!service.kubernetes.io/service-proxy-name"]
        );
        let slices = decoded(&Selection::endpoint_slices().list(&Page::Whole));
        assert_eq!(slices, ["labelSelector=!service.kubernetes.io/headless"]);
        assert_eq!(
            decoded(&Selection::node("n 1&x").list(&Page::Whole)),
            ["fieldSelector=metadata.name=n 1&x"]
        );
    }

    #[test]
    fn lists_ask_for_the_version_that_is_known() {
        let list = |page| decoded(&Selection::everything().list(&page));
        assert_eq!(list(Page::First(Known::Nothing)), ["limit=500", "resourceVersion=0"]);
        assert_eq!(
            list(Page::First(Known::Version("7"))),
            ["limit=500", "resourceVersion=7", "resourceVersionMatch=NotOlderThan"]
        );
        assert_eq!(list(Page::First(Known::Useless)), ["limit=500"]);
        assert_eq!(list(Page::Next("t=/")), ["limit=500", "continue=t=/"]);
        assert_eq!(list(Page::Whole), Vec::<String>::new());
    }

    #[test]
    fn watches_ask_for_bookmarks_and_an_end() {
        let five_minutes = Duration::from_secs(300);
        let all = Selection::everything();
        assert_eq!(
            decoded(&all.streamed_list(Known::Nothing, five_minutes)),
            [
                "watch=true",
                "sendInitialEvents=true",
                "resourceVersionMatch=NotOlderThan",
                "allowWatchBookmarks=true",
                "timeoutSeconds=300"
            ]
        );
        assert!(
            decoded(&all.streamed_list(Known::Version("7"), five_minutes))
                .contains(&"resourceVersion=7".to_owned())
        );
        assert_eq!(
            decoded(&all.watch("9", five_minutes)),
            ["watch=true", "allowWatchBookmarks=true", "resourceVersion=9", "timeoutSeconds=300"]
        );
    }
}
