//! Initial lists, in every style, and what comes after them.

use std::time::Duration;

use portolan_testkit::api_server::{StreamedLists, Verb};

use super::*;

#[tokio::test]
async fn a_streamed_list_is_complete_and_its_watch_continues() {
    let mut following = Following::of(small_cluster(10)).await;
    assert_eq!(following.downstream.world.services.lists, [10]);
    assert_eq!(following.downstream.world.slices.lists, [10]);
    assert_eq!(following.downstream.world.nodes.names(), [NODE]);
    following.server.apply(service("s003", "10.96.9.9"));
    following.server.apply(slice("s003-1", "s003", &["10.244.0.3"]));
    following.server.delete("Service", "shop", "s004");
    following.server.delete("ServiceCIDR", "", "kubernetes");
    following.settle().await;
    assert_eq!(following.downstream.world.endpoints_of("shop/s003"), ["10.244.0.3:8080"]);
    for resource in RESOURCES {
        assert_eq!(following.server.count(Verb::List, resource), 0, "{resource}");
        assert_eq!(following.server.count(Verb::Watch, resource), 1, "{resource}");
    }
    assert_eq!(following.metrics.get(Count::Failures), 0);
    following.finish().await;
}

#[tokio::test]
async fn requests_are_those_of_kube_proxy() {
    let following = Following::of(small_cluster(1)).await;
    for request in following.server.requests() {
        assert!(request.user_agent.starts_with("portolan/"), "{request:?}");
        assert_eq!(request.accept, "application/json");
        let selector = |name: &str| request.query.get(name).map(String::as_str);
        let selectors = (selector("fieldSelector"), selector("labelSelector"));
        let wanted = match request.resource.as_str() {
            "services" => (Some("spec.clusterIP!=None"), Some("!service.kubernetes.io/service-proxy-name")),
            "endpointslices" => (None, Some("!service.kubernetes.io/headless")),
            "nodes" => (Some("metadata.name=n1"), None),
            _ => (None, None),
        };
        assert_eq!(selectors, wanted, "{request:?}");
        let seconds: u64 = selector("timeoutSeconds").unwrap().parse().unwrap();
        assert!((300..=600).contains(&seconds), "{seconds}");
    }
    following.finish().await;
}

/// A server of 10 Services that gives them in pages of 3 to clients that cannot stream.
async fn following_in_pages(support: StreamedLists, timing: Timing) -> Following {
    let server = serving(small_cluster(10)).await;
    server.set_streamed_lists(support);
    server.limit_pages(3);
    let mut following = Following::start(server, timing).await;
    following.settle().await;
    assert_eq!(following.downstream.world.services.lists, [10]);
    assert_eq!(following.downstream.world.slices.lists, [10]);
    assert_eq!(following.server.count(Verb::List, "services"), 4);
    following
}

#[tokio::test]
async fn a_server_that_cannot_stream_lists_in_pages_from_then_on() {
    for support in [StreamedLists::NoStorage, StreamedLists::Forbidden] {
        let mut following = following_in_pages(support, TIMING).await;
        following.server.apply(service("s003", "10.96.9.9"));
        following.settle().await;
        assert_eq!(following.metrics.get(Count::Failures), 0, "{support:?} is no failure");
        let first =
            &following.server.requests().into_iter().find(|request| request.verb == Verb::List).unwrap();
        assert_eq!((first.query["limit"].as_str(), first.query["resourceVersion"].as_str()), ("500", "0"));

        following.watched().await;
        following.server.expire_watches();
        following.server.apply(service("s010", "10.96.9.10"));
        following.settle().await;
        assert_eq!(following.downstream.world.services.lists, [10, 11]);
        let streamed = |request: &&portolan_testkit::api_server::Request| {
            request.resource == "services" && request.query.contains_key("sendInitialEvents")
        };
        assert_eq!(following.server.requests().iter().filter(streamed).count(), 1, "{support:?}");
        following.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_ignores_streamed_lists_is_detected() {
    let timing = Timing { answer: Duration::from_millis(200), ..TIMING };
    let following = following_in_pages(StreamedLists::Unknown, timing).await;
    following.finish().await;
}

#[tokio::test]
async fn an_expired_page_costs_the_list_and_nothing_downstream() {
    let server = serving(small_cluster(10)).await;
    server.set_streamed_lists(StreamedLists::NoStorage);
    server.limit_pages(2);
    server.slow_down(Duration::from_millis(20));
    let mut following = Following::start(server, TIMING).await;
    while following.server.count(Verb::List, "services") < 3 {
        following.downstream.during(Duration::from_millis(1)).await;
    }
    following.server.expire_continue_tokens();
    following.server.delete("Service", "shop", "s000");
    following.settle().await;
    assert_eq!(following.downstream.world.services.lists, [9], "one list, of the time after");
    let whole = following
        .server
        .requests()
        .into_iter()
        .rfind(|request| request.resource == "services" && request.verb == Verb::List);
    assert!(!whole.unwrap().query.contains_key("limit"), "the second list cannot expire");
    following.finish().await;
}

#[tokio::test]
async fn a_list_that_breaks_off_is_not_passed_on() {
    for support in [StreamedLists::Supported, StreamedLists::NoStorage] {
        // Services alone, so that the break hits their list.
        let server = serving((0..10).map(|i| service(&format!("s{i}"), &format!("10.96.0.{i}")))).await;
        server.set_streamed_lists(support);
        server.limit_pages(4);
        server.break_next_list_after(3);
        let mut following = Following::start(server, TIMING).await;
        following.settle().await;
        assert_eq!(following.downstream.world.services.lists, [10], "{support:?}");
        following.finish().await;
    }
}

#[tokio::test]
async fn a_list_that_ends_early_in_good_order_is_not_passed_on() {
    for support in [StreamedLists::Supported, StreamedLists::NoStorage] {
        // All kinds have something, so the end hits whichever list comes first.
        let server = serving(small_cluster(10)).await;
        server.set_streamed_lists(support);
        server.end_next_list_after(0);
        let mut following = Following::start(server, TIMING).await;
        following.settle().await;
        let world = &following.downstream.world;
        let lists =
            [&world.services.lists, &world.slices.lists, &world.nodes.lists, &world.service_cidrs.lists];
        assert_eq!(lists.map(|lists| &lists[..]), [&[10][..], &[10], &[1], &[1]], "{support:?}");
        assert_eq!(following.metrics.get(Count::Failures), 1, "{support:?}");
        following.finish().await;
    }
}

#[tokio::test]
async fn ten_thousand_services_with_their_slices_are_one_list_each() {
    let server = serving(small_cluster(10_000)).await;
    let began = std::time::Instant::now();
    let mut following = Following::start(server, TIMING).await;
    following.downstream.listed().await;
    let took = began.elapsed();
    assert_eq!(following.downstream.world.services.lists, [10_000]);
    assert_eq!(following.downstream.world.slices.lists, [10_000]);
    // The server and an unoptimised build share the time; the benchmarks hold it to real targets.
    assert!(took < Duration::from_secs(30), "{took:?}");
    following.finish().await;
}
