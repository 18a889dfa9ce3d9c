//! Objects that cannot be read, and objects that come to be or cease to be selected.

use super::*;

fn malformed(name: &str) -> Value {
    let mut object = service(name, "10.96.0.1");
    object["spec"]["ports"][0]["port"] = json!("eighty");
    object
}

#[tokio::test]
async fn a_malformed_object_in_a_list_does_not_affect_others() {
    let mut objects = small_cluster(4);
    objects.push(malformed("bad"));
    objects.push(json!({"kind": "EndpointSlice", "metadata": {"namespace": "shop", "name": "odd"}, "endpoints": "none"}));
    for streamed in [true, false] {
        let server = serving(objects.clone()).await;
        if !streamed {
            server.set_streamed_lists(portolan_testkit::api_server::StreamedLists::NoStorage);
        }
        let mut following = Following::start(server, TIMING).await;
        following.settle().await;
        assert_eq!(following.downstream.world.services.lists, [4]);
        assert_eq!(following.metrics.get(Count::Malformed), 2);
        assert_eq!(following.metrics.get(Count::Failures), 0);
        following.server.apply(service("bad", "10.96.0.77"));
        following.settle().await;
        assert!(following.services().contains(&"shop/bad".to_owned()));
        following.finish().await;
    }
}

#[tokio::test]
async fn an_object_that_becomes_malformed_stays_as_it_was() {
    let mut following = Following::of(small_cluster(3)).await;
    let before = following.downstream.world.services.clone();
    following.server.apply(malformed("s001"));
    following.server.apply(service("s002", "10.96.7.7"));
    following.downstream.until("next change", |world| world.services != before).await;
    let key = portolan_core::name::ObjectName::new("shop", "s001");
    assert_eq!(following.downstream.world.services.objects[&key], before.objects[&key]);

    // Not even a new list takes it away.
    following.watched().await;
    following.server.expire_watches();
    following.server.apply(service("s003", "10.96.0.3"));
    following.server.delete("Service", "shop", "s000");
    following
        .downstream
        .until("state after the list", |world| {
            world.services.names() == ["shop/s001", "shop/s002", "shop/s003"]
        })
        .await;
    assert_eq!(following.downstream.world.services.objects[&key], before.objects[&key]);

    following.server.delete("Service", "shop", "s001");
    following.settle().await;
    following.server.apply(service("s001", "10.96.0.99"));
    following.settle().await;
    following.finish().await;
}

#[tokio::test]
async fn events_without_a_change_are_ignored() {
    let mut following = Following::of(small_cluster(2)).await;
    following.watched().await;
    let lines = [
        "",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"nameless-space\"}}}",
        "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"namespace\":\"shop\",\"name\":\"s000\"},\"spec\":7}}",
        "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"namespace\":\"shop\",\"name\":\"never-was\"}}}",
        "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{}}}",
    ];
    for line in lines {
        following.server.inject("services", line);
    }
    following.server.apply(service("s000", "10.96.7.7"));
    following.settle().await;
    assert_eq!(following.metrics.get(Count::Malformed), 2);
    assert_eq!(
        (following.metrics.get(Count::Failures), &following.downstream.world.services.lists[..]),
        (0, &[2][..])
    );
    following.finish().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_costs_a_list_and_no_change() {
    for line in [
        "nonsense",
        "{\"type\":\"ADDED\"}",
        "{\"type\":\"ADDED\",\"object\":null}",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{",
        "{\"type\":\"RENAMED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}",
        "{\"type\":\"DELETED\",\"object\":{\"metadata\":{}}}",
    ] {
        let mut following = Following::of(small_cluster(2)).await;
        following.watched().await;
        // The change in that line, which would be lost if the line were skipped.
        following.server.delete("Service", "shop", "s001");
        following.server.inject("services", line);
        following.server.apply(service("s000", "10.96.7.7"));
        following.settle().await;
        let lists = &following.downstream.world.services.lists;
        assert!(matches!(lists[..], [2, 1]), "{line}: {lists:?}");
        following.finish().await;
    }
}

#[tokio::test]
async fn an_error_event_that_is_not_about_age_resumes_the_watch() {
    let mut following = Following::of(small_cluster(2)).await;
    following.watched().await;
    let error =
        r#"{"type":"ERROR","object":{"kind":"Status","code":500,"reason":"InternalError","message":"oops"}}"#;
    following.server.inject("services", error);
    // The log of the server has the line; a resumed watch that starts before it would meet it again.
    following.server.compact();
    following.server.apply(service("s000", "10.96.7.7"));
    following.settle().await;
    assert!(following.metrics.get(Count::Failures) >= 1);
    following.finish().await;
}

#[tokio::test]
async fn an_object_that_is_no_longer_selected_is_deleted_and_may_return() {
    let mut following = Following::of(small_cluster(3)).await;
    let labelled = |mut object: Value, label: &str| {
        object["metadata"]["labels"][label] = json!("");
        object
    };
    following
        .server
        .apply(labelled(service("s000", "10.96.0.0"), "service.kubernetes.io/service-proxy-name"));
    following.server.apply(service("s001", "None"));
    let slice = slice("s002-1", "s002", &["10.244.0.1"]);
    following.server.apply(labelled(slice.clone(), "service.kubernetes.io/headless"));
    following.settle().await;
    assert_eq!(following.services(), ["shop/s002"]);
    assert_eq!(following.downstream.world.endpoints_of("shop/s002"), Vec::<String>::new());

    // These the server still sends, and the rules leave them out.
    let mut external = service("s002", "10.96.0.2");
    external["spec"]["type"] = json!("ExternalName");
    following.server.apply(external);
    following.settle().await;
    assert_eq!(following.services(), Vec::<String>::new());

    following.server.apply_all([service("s000", "10.96.0.0"), service("s002", "10.96.0.2"), slice]);
    following.settle().await;
    assert_eq!(following.services(), ["shop/s000", "shop/s002"]);
    following.finish().await;
}

#[tokio::test]
async fn bad_entries_are_left_out_and_counted() {
    let mut object = service("s000", "10.96.0.0");
    object["spec"]["externalIPs"] = json!(["198.51.100.7", "x", "y", "z", "u", "v", "w"]);
    let following = Following::of([object, node(NODE)]).await;
    assert_eq!(following.metrics.get(Count::Problems), 6);
    assert_eq!(following.downstream.world.services.objects.values().next().unwrap().external_ips.len(), 1);
    following.finish().await;
}
