//! The queries of lists and watches.

use std::time::Duration;

use form_urlencoded::Serializer;

/// Objects on one page of a list, as in Kubernetes' own clients.
const PAGE: usize = 500;

/// Selects objects of a collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    fields: Option<String>,
    labels: Option<&'static str>,
}

/// The version of a collection up to which everything has been passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    /// No list has been passed on.
    Start,
    /// This one; a list must not be older.
    At(String),
    /// One so old that the server does not know what came after it. Only its newest state will do.
    Expired,
}

/// A page of a list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Page<'a> {
    First(&'a Position),
    /// The one with this token.
    Next(&'a str),
    /// Everything in one answer, as of now.
    Whole,
}

impl Selector {
    /// The Node of this name.
    pub(super) fn node(name: &str) -> Self {
        Self { fields: Some(format!("metadata.name={name}")), labels: None }
    }

    /// Services with a cluster IP that no other proxy serves.
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
        query.extend_pairs(self.fields.as_deref().map(|fields| ("fieldSelector", fields)));
        query.extend_pairs(self.labels.map(|labels| ("labelSelector", labels)));
        query
    }

    /// The query for a page of a list.
    pub(super) fn list(&self, page: &Page<'_>) -> String {
        let mut query = self.query();
        if !matches!(page, Page::Whole) {
            query.append_pair("limit", &PAGE.to_string());
        }
        match page {
            // From the server's cache, whatever it holds.
            Page::First(Position::Start) => query.append_pair("resourceVersion", "0"),
            // Never from a cache that is older than what was passed on.
            Page::First(Position::At(version)) => query
                .append_pair("resourceVersion", version)
                .append_pair("resourceVersionMatch", "NotOlderThan"),
            // A token brings its version along; naming one as well is an error.
            Page::Next(token) => query.append_pair("continue", token),
            Page::First(Position::Expired) | Page::Whole => &mut query,
        };
        query.finish()
    }

    /// The query for a watch that begins with all objects.
    pub(super) fn streamed_list(&self, position: &Position, timeout: Duration) -> String {
        let mut query = self.query();
        query.append_pair("watch", "true").append_pair("sendInitialEvents", "true");
        query.append_pair("resourceVersionMatch", "NotOlderThan").append_pair("allowWatchBookmarks", "true");
        if let Position::At(version) = position {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(query: &str) -> Vec<String> {
        form_urlencoded::parse(query.as_bytes()).map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn selectors_are_those_of_kube_proxy() {
        let services = decoded(&Selector::services().list(&Page::Whole));
        assert_eq!(
            services,
            ["fieldSelector=spec.clusterIP!=None", "labelSelector=!service.kubernetes.io/service-proxy-name"]
        );
        let slices = decoded(&Selector::endpoint_slices().list(&Page::Whole));
        assert_eq!(slices, ["labelSelector=!service.kubernetes.io/headless"]);
        assert_eq!(
            decoded(&Selector::node("n 1&x").list(&Page::Whole)),
            ["fieldSelector=metadata.name=n 1&x"]
        );
    }

    #[test]
    fn lists_request_the_known_version() {
        let list = |page: Page<'_>| decoded(&Selector::default().list(&page));
        assert_eq!(list(Page::First(&Position::Start)), ["limit=500", "resourceVersion=0"]);
        assert_eq!(
            list(Page::First(&Position::At("7".to_owned()))),
            ["limit=500", "resourceVersion=7", "resourceVersionMatch=NotOlderThan"]
        );
        assert_eq!(list(Page::First(&Position::Expired)), ["limit=500"]);
        assert_eq!(list(Page::Next("t=/")), ["limit=500", "continue=t=/"]);
        assert_eq!(list(Page::Whole), Vec::<String>::new());
    }

    #[test]
    fn watches_request_bookmarks_and_a_timeout() {
        let five_minutes = Duration::from_secs(300);
        let all = Selector::default();
        assert_eq!(
            decoded(&all.streamed_list(&Position::Start, five_minutes)),
            [
                "watch=true",
                "sendInitialEvents=true",
                "resourceVersionMatch=NotOlderThan",
                "allowWatchBookmarks=true",
                "timeoutSeconds=300"
            ]
        );
        assert!(
            decoded(&all.streamed_list(&Position::At("7".to_owned()), five_minutes))
                .contains(&"resourceVersion=7".to_owned())
        );
        assert_eq!(
            decoded(&all.watch("9", five_minutes)),
            ["watch=true", "allowWatchBookmarks=true", "resourceVersion=9", "timeoutSeconds=300"]
        );
    }
}
