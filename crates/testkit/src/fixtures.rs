//! What real API servers and clusters sent, byte for byte (Kubernetes 1.36.2).

/// `kubectl get services,endpointslices,endpoints,nodes -A -o yaml` of a small
/// cluster with running pods: one `kind: List`.
pub const CLUSTER: &str = include_str!("../testdata/cluster.yaml");

/// First page of `GET endpointslices?limit=2`.
pub const LIST_PAGE_1: &str = include_str!("../testdata/list-endpointslices-page1.json");

/// The page that the `continue` token of [`LIST_PAGE_1`] gives; it has a token again.
pub const LIST_PAGE_2: &str = include_str!("../testdata/list-endpointslices-page2.json");

/// 410 for a `continue` token that is too old.
pub const CONTINUE_EXPIRED: &str = include_str!("../testdata/continue-expired.json");

/// 403 for a list.
pub const FORBIDDEN: &str = include_str!("../testdata/forbidden.json");

/// 401.
pub const UNAUTHORIZED: &str = include_str!("../testdata/unauthorized.json");

/// A watch of Services with the proxy's selector: created, given a status, then
/// labelled away (which arrives as a deletion), then bookmarks.
pub const WATCH_SERVICES: &str = include_str!("../testdata/watch-services.jsonl");

/// The same for an EndpointSlice that is added, changed and deleted. The bookmarks
/// are bare objects with `null` lists.
pub const WATCH_ENDPOINT_SLICES: &str = include_str!("../testdata/watch-endpointslices.jsonl");

/// A watch from a version that has been compacted: HTTP 200, then one error.
pub const WATCH_EXPIRED: &str = include_str!("../testdata/watch-expired.jsonl");

/// `sendInitialEvents` where the storage cannot do it: HTTP 200, then one error.
pub const WATCH_LIST_UNSUPPORTED: &str = include_str!("../testdata/watch-list-unsupported.jsonl");
