//! What goes wrong with a watch, and that nothing of it shows downstream.

use std::time::Duration;

use portolan_testkit::api_server::{Refusal, Verb};

use super::*;

/// Watches of Services that began with a version, in order.
fn resumed_from(following: &Following) -> Vec<u64> {
    let requests = following.server.requests().into_iter();
    let watches = requests.filter(|request| request.verb == Verb::Watch && request.resource == "services");
    watches.filter_map(|request| request.query.get("resourceVersion")?.parse().ok()).collect()
}

#[tokio::test]
async fn a_cut_connection_is_resumed_where_it_was() {
    let mut following = Following::of(small_cluster(5)).await;
    // A third in a row would cost a list.
    for round in 1..=2 {
        following.watched().await;
        let last = following.server.apply(service("s000", &format!("10.96.7.{round}"))).unwrap();
        following.settle().await;
        following.server.cut_connections().await;
        following.server.apply(service("s001", &format!("10.96.8.{round}")));
        following.server.delete("EndpointSlice", "shop", "s002-1");
        following.settle().await;
        assert_eq!(resumed_from(&following).last(), Some(&last), "round {round}");
    }
    assert_eq!(following.downstream.world.services.lists, [5], "no second list");
    following.finish().await;
}

#[tokio::test]
async fn bookmarks_advance_the_version_to_resume_from() {
    let mut following = Following::of(small_cluster(3)).await;
    following.watched().await;
    // Nothing of what a Service watch selects happens, while the versions run away.
    let mut version = 0;
    for i in 0..20 {
        version = following.server.apply(node(&format!("other-{i}"))).unwrap();
    }
    following.server.send_bookmarks(Some(Duration::from_millis(5)));
    following.downstream.during(Duration::from_millis(200)).await;
    following.server.send_bookmarks(None);
    following.server.compact();
    following.server.cut_connections().await;
    following.server.apply(service("s000", "10.96.7.7"));
    following.settle().await;
    assert_eq!(resumed_from(&following).last(), Some(&version));
    assert_eq!(following.downstream.world.services.lists, [3], "the place was new enough to go on from");
    following.finish().await;
}

#[tokio::test]
async fn an_expired_version_is_one_list() {
    let mut following = Following::of(small_cluster(5)).await;
    following.watched().await;
    following.server.set_down(true).await;
    following.server.delete("Service", "shop", "s000");
    following.server.apply(service("s005", "10.96.0.5"));
    following.server.compact();
    following.server.set_down(false).await;
    following.settle().await;
    assert_eq!(following.downstream.world.services.lists, [5, 5]);
    assert!(!following.services().contains(&"shop/s000".to_owned()));
    following.finish().await;
}

#[tokio::test]
async fn a_watch_that_expires_is_one_list() {
    let mut following = Following::of(small_cluster(5)).await;
    following.watched().await;
    following.server.expire_watches();
    following.server.delete("Service", "shop", "s000");
    following.settle().await;
    following.watched().await;
    following.server.apply(service("s000", "10.96.0.9"));
    following.settle().await;
    let lists = &following.downstream.world.services.lists;
    assert!(matches!(lists[..], [5, 4 | 5]), "{lists:?}");
    following.finish().await;
}

#[tokio::test]
async fn a_silent_watch_is_given_up_and_resumed() {
    let server = serving(small_cluster(5)).await;
    let timing = Timing { silence: Duration::from_millis(300), answer: Duration::from_millis(300), ..TIMING };
    let mut following = Following::start(server, timing).await;
    following.settle().await;
    following.watched().await;
    following.server.stall(true);
    following.server.apply(service("s000", "10.96.7.7"));
    let before = following.metrics.get(Count::Failures);
    following.failed(before + 8).await;
    following.server.stall(false);
    following.settle().await;
    assert_eq!(following.downstream.world.services.lists, [5]);
    following.finish().await;
}

#[tokio::test]
async fn a_slow_server_is_not_treated_as_unavailable() {
    let server = serving(small_cluster(5)).await;
    server.slow_down(Duration::from_millis(100));
    let timing = Timing { silence: Duration::from_secs(5), answer: Duration::from_secs(2), ..TIMING };
    let mut following = Following::start(server, timing).await;
    following.settle().await;
    following.server.apply(service("s000", "10.96.7.7"));
    following.settle().await;
    assert_eq!(following.metrics.get(Count::Failures), 0);
    following.finish().await;
}

#[tokio::test]
async fn a_watch_that_ends_regularly_is_resumed_without_a_log_message() {
    let server = serving(small_cluster(3)).await;
    let timing = Timing { watch: Duration::from_secs(2), ..TIMING };
    let mut following = Following::start(server, timing).await;
    following.settle().await;
    while resumed_from(&following).len() < 2 {
        following.downstream.during(Duration::from_millis(50)).await;
    }
    following.server.apply(service("s000", "10.96.7.7"));
    following.settle().await;
    assert_eq!(following.metrics.get(Count::Failures), 0);
    assert_eq!(following.downstream.world.services.lists, [3]);
    following.finish().await;
}

#[tokio::test]
async fn requests_are_repeated_until_the_server_accepts_them() {
    for status in [401, 403, 429, 500, 503] {
        let server = serving(small_cluster(3)).await;
        server.refuse(Some(Refusal { status, resource: "" }));
        let mut following = Following::start(server, TIMING).await;
        following.failed(12).await;
        following.server.refuse(None);
        following.settle().await;

        following.watched().await;
        following.server.refuse(Some(Refusal { status, resource: "" }));
        following.server.cut_connections().await;
        following.server.apply(service("s000", "10.96.7.7"));
        following.downstream.during(Duration::from_millis(100)).await;
        following.server.refuse(None);
        following.settle().await;
        let lists = &following.downstream.world.services.lists;
        assert!(lists.iter().all(|size| *size == 3), "{status}: {lists:?}");
        following.finish().await;
    }
}

#[tokio::test]
async fn an_unavailable_kind_does_not_delay_the_others() {
    let server = serving(small_cluster(3)).await;
    server.refuse(Some(Refusal { status: 403, resource: "servicecidrs" }));
    let mut following = Following::start(server, TIMING).await;
    following
        .downstream
        .until("other lists", |world| {
            !world.services.lists.is_empty()
                && !world.slices.lists.is_empty()
                && !world.nodes.lists.is_empty()
        })
        .await;
    following.server.apply(service("s000", "10.96.7.7"));
    following
        .downstream
        .until("a change", |world| {
            world
                .services
                .objects
                .values()
                .any(|service| service.cluster_ips.v4 == Some([10, 96, 7, 7].into()))
        })
        .await;
    assert_eq!(following.downstream.world.service_cidrs.lists, Vec::<usize>::new());
    following.server.refuse(None);
    following.settle().await;
    following.finish().await;
}

#[tokio::test]
async fn an_outage_is_waited_for() {
    let mut following = Following::of(small_cluster(3)).await;
    for round in 0..3 {
        following.watched().await;
        following.server.set_down(true).await;
        following.server.apply(service("s000", &format!("10.96.7.{round}")));
        assert_eq!(following.downstream.during(Duration::from_millis(150)).await, 0);
        following.server.set_down(false).await;
        following.settle().await;
    }
    assert_eq!(following.downstream.world.services.lists, [3]);
    following.finish().await;
}
