//! What the log says of a server that does not do what it should, and for how long.

use portolan_testkit::api_server::Refusal;

use super::*;
use crate::tests::log::Log;

#[tokio::test]
async fn an_outage_and_its_end_are_one_log_message_for_each_kind() {
    let (log, _guard) = Log::capture();
    let mut following = Following::of(small_cluster(1)).await;
    following.watched().await;
    following.server.set_down(true).await;
    following.failed(following.metrics.get(Count::Failures) + 24).await;
    for kind in ["Service", "EndpointSlice", "Node"] {
        let logged = log.lines_with(&[
            "ERROR",
            "Failed to read objects",
            &format!("kind={kind:?} verb=\"watch\""),
            "Connection refused",
        ]);
        assert_eq!(logged.len(), 1, "{kind}: {logged:#?}");
    }
    assert_eq!(log.lines_with(&["can be read again"]), Vec::<String>::new());
    following.server.set_down(false).await;
    while log.lines_with(&["can be read again"]).len() < 4 {
        following.downstream.during(Duration::from_millis(10)).await;
    }
    for kind in ["Service", "EndpointSlice", "Node", "ServiceCIDR"] {
        let logged =
            log.lines_with(&["INFO", "Objects can be read again", &format!("kind={kind:?}"), "failures="]);
        assert_eq!(logged.len(), 1, "{kind}: {logged:#?}");
    }
    following.finish().await;
}

#[tokio::test]
async fn forbidden_service_cidrs_are_one_warning() {
    let (log, _guard) = Log::capture();
    let server = serving(small_cluster(1)).await;
    server.refuse(Some(Refusal { status: 403, resource: "servicecidrs" }));
    let mut following = Following::start(server, TIMING).await;
    while following.metrics.get(Count::Failures) < 10 {
        following.downstream.during(Duration::from_millis(10)).await;
    }
    assert_eq!(log.lines_with(&["ERROR"]), Vec::<String>::new());
    let warned = log.lines_with(&["WARN"]);
    assert!(
        matches!(&warned[..], [one] if one.contains("Failed to read objects") && one.contains("kind=\"ServiceCIDR\" verb=\"list\" err=the server answered 403"))
    );
    following.server.refuse(None);
    following.settle().await;
    assert_eq!(log.lines_with(&["Objects can be read again", "ServiceCIDR"]).len(), 1);
    following.finish().await;
}

#[tokio::test]
async fn a_kind_the_server_does_not_have_is_an_empty_list_and_rarely_requested() {
    let (log, _guard) = Log::capture();
    let server = serving(small_cluster(1)).await;
    server.refuse(Some(Refusal { status: 404, resource: "servicecidrs" }));
    let timing = Timing { last_retry: Duration::from_millis(30), ..TIMING };
    let mut following = Following::start(server, timing).await;
    let asked = |following: &Following| {
        following.server.requests().iter().filter(|request| request.resource == "servicecidrs").count()
    };
    following.downstream.listed().await;
    following.downstream.during(Duration::from_millis(200)).await;
    assert_eq!(following.downstream.world.service_cidrs.lists, [0]);
    // For one of the longest waits the server may be starting, then it is not asked for 20 of them.
    let first = asked(&following);
    while asked(&following) == first {
        following.downstream.during(Duration::from_millis(50)).await;
    }
    assert_eq!(following.downstream.world.service_cidrs.lists, [0], "no news is passed on once");
    let lines = log.lines_with(&["ServiceCIDR"]);
    assert!(matches!(&lines[..], [one] if one.contains("INFO") && one.contains("does not have this kind")));
    following.server.refuse(None);
    following.settle().await;
    assert_eq!(following.downstream.world.service_cidrs.lists, [0, 1]);
    following.finish().await;
}

#[tokio::test]
async fn a_server_that_accepts_watches_and_drops_them_does_not_fill_the_log() {
    let (log, _guard) = Log::capture();
    let mut following = Following::of(small_cluster(1)).await;
    for _ in 0..30 {
        following.watched().await;
        following.server.cut_connections().await;
        // Lists are among it.
        following.downstream.during(Duration::from_millis(1)).await;
    }
    following.server.apply(service("s000", "10.96.7.7"));
    following.settle().await;
    let of_services = log.lines_with(&["Service\""]);
    assert!((2..=4).contains(&of_services.len()), "{of_services:#?}");
    assert!(following.metrics.get(Count::Failures) >= 60, "all of them are counted");
    following.finish().await;
}
