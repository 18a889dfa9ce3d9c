//! `docs/metrics.md` has a section for each path; this holds them to the code.

use std::collections::BTreeSet;
use std::fs;

use super::*;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");

/// Where the paths are.
const CODE: [&str; 4] = [
    include_str!("../../status.rs"),
    include_str!("../healthz.rs"),
    include_str!("../pages.rs"),
    include_str!("../debug.rs"),
];

/// Every path of the status server that matches exactly.
fn served() -> BTreeSet<&'static str> {
    let routes = CODE.iter().flat_map(|code| code.split("route(\"").skip(1));
    let paths = routes.filter_map(|route| route.split('"').next());
    paths.filter(|path| !path.contains('{')).collect()
}

#[tokio::test(start_paused = true)]
async fn every_documented_path_is_served_and_every_path_is_documented() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (_, section) = page.split_once("\n## Status server").expect("a section about the status server");
    let section = section.split("\n## ").next().unwrap();
    let headings = section.lines().filter(|line| line.starts_with("### "));
    let documented: BTreeSet<_> = headings.flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    assert_eq!(documented, served());
    let router = full_router();
    for path in documented {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let status = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap().status();
        assert_ne!(status, 404, "{path}");
    }
}
