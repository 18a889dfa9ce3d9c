//! Events, and what a proxy may do.

use super::*;

async fn send(server: &ApiServer, method: &str, path: &str, kind: &str, body: &Value) -> (u16, Value) {
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    let (path, body) = (format!("/apis/events.k8s.io/v1/namespaces/{path}"), body.to_string());
    let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-type: {kind}\r\n");
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    connection.write_all(request.as_bytes()).await.unwrap();
    Answer { connection, text: String::new() }.json().await
}

fn event(name: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "type": "Normal",
        "metadata": {"name": name, "namespace": "default"}, "eventTime": "2026-11-21T09:30:00.123456Z",
        "reportingController": "kube-proxy", "reportingInstance": "kube-proxy-n1",
        "action": "StartKubeProxy", "reason": "Starting", "regarding": {"kind": "Node", "name": "n1"},
    })
}

#[tokio::test]
async fn events_are_made_once_and_counted_and_forgotten() {
    const JSON: &str = "application/json";
    const MERGE: &str = "application/strategic-merge-patch+json";
    let server = ApiServer::start().await.unwrap();
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-11-21T09:31:00.000000Z"}});
    assert_eq!(send(&server, "POST", "default/events", JSON, &event("n1.1")).await.0, 201);
    let again = send(&server, "POST", "default/events", JSON, &event("n1.1")).await;
    assert_eq!((again.0, &again.1["reason"]), (409, &json!("AlreadyExists")));
    assert_eq!(send(&server, "PATCH", "default/events/n1.1", JSON, &series).await.0, 415);
    assert_eq!(send(&server, "PATCH", "default/events/n1.1", MERGE, &series).await.0, 200);
    assert_eq!(send(&server, "PATCH", "default/events/n1.1", MERGE, &json!({"note": "x"})).await.0, 422);
    assert_eq!(send(&server, "PATCH", "default/events/n1.2", MERGE, &series).await.0, 404);
    assert_eq!(send(&server, "POST", "shop/events", JSON, &event("n1.2")).await.0, 400);
    let nameless = send(&server, "POST", "default/events", JSON, &event("")).await;
    assert_eq!((nameless.0, &nameless.1["reason"]), (422, &json!("Invalid")));
    let kept = server.events();
    assert_eq!((kept.len(), &kept[0]["series"]["count"]), (1, &json!(2)));
    assert_eq!((server.count(Verb::Create, "events"), server.count(Verb::Patch, "events")), (4, 4));
    server.forget_events();
    assert_eq!(send(&server, "PATCH", "default/events/n1.1", MERGE, &series).await.0, 404);
}

#[tokio::test]
async fn proxy_has_only_the_permissions_of_its_role() {
    let server = with_services(&["a"]).await;
    server.allow_only_what_a_proxy_may();
    for (path, code) in [
        ("/api/v1/services", 200),
        ("/apis/networking.k8s.io/v1/servicecidrs", 200),
        ("/api/v1/namespaces/shop/services/a", 403),
        ("/api/v1/secrets", 403),
    ] {
        assert_eq!(Answer::to(&server, path).await.json().await.0, code, "{path}");
    }
    assert_eq!(send(&server, "POST", "default/events", "application/json", &event("n1.1")).await.0, 201);
    assert_eq!(send(&server, "DELETE", "default/events/n1.1", "application/json", &json!({})).await.0, 403);
    assert_eq!(server.forbidden().len(), 3);
}
