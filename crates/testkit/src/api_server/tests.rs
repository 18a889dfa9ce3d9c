//! The server against a client of a few lines, so that a fault here is not one there.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ApiServer, Refusal, StreamedLists, Verb};
use crate::fixtures;

mod events;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer as it comes in.
struct Answer {
    connection: TcpStream,
    /// What has come: headers first, then the chunks.
    text: String,
}

impl Answer {
    async fn to(server: &ApiServer, path: &str) -> Self {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nuser-agent: probe/1\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        Self { connection, text: String::new() }
    }

    async fn read(&mut self) -> usize {
        let mut buffer = vec![0; 64 << 10];
        let count = timeout(PATIENCE, self.connection.read(&mut buffer)).await.unwrap().unwrap_or(0);
        self.text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        count
    }

    async fn until(&mut self, text: &str) -> &str {
        while !self.text.contains(text) {
            assert_ne!(self.read().await, 0, "no {text:?} before the end of {}", self.text);
        }
        &self.text
    }

    /// The whole of an answer that says how long it is or ends with an empty chunk, as JSON.
    async fn json(mut self) -> (u16, Value) {
        let body = loop {
            if let Some((_, body)) = self.text.split_once("\r\n\r\n") {
                let lines: String = if self.text.contains("transfer-encoding: chunked") {
                    if !body.ends_with("0\r\n\r\n") {
                        assert_ne!(self.read().await, 0, "{}", self.text);
                        continue;
                    }
                    // Chunk sizes stand on lines of their own.
                    body.split("\r\n").skip(1).step_by(2).collect()
                } else {
                    body.to_owned()
                };
                if let Ok(value) = serde_json::from_str::<Value>(&lines) {
                    break value;
                }
            }
            assert_ne!(self.read().await, 0, "{}", self.text);
        };
        (self.text[9..12].parse().unwrap(), body)
    }

    /// Complete watch events so far.
    fn events(&self) -> Vec<Value> {
        self.text
            .lines()
            .filter(|line| line.starts_with("{\"type\""))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    async fn events_until(&mut self, count: usize) -> Vec<Value> {
        while self.events().len() < count {
            assert_ne!(self.read().await, 0, "only {} events in {}", self.events().len(), self.text);
        }
        self.events()
    }
}

fn service(name: &str) -> Value {
    json!({"kind": "Service", "metadata": {"namespace": "shop", "name": name}, "spec": {"clusterIP": "10.96.0.1"}})
}

async fn with_services(names: &[&str]) -> ApiServer {
    let server = ApiServer::start().await.unwrap();
    server.apply_all(names.iter().map(|name| service(name)));
    server
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

fn brief(events: &[Value]) -> Vec<(&str, &str)> {
    events.iter().map(|event| (event["type"].as_str().unwrap(), name(event))).collect()
}

/// Name of an event's object; a bookmark's has none.
fn name(event: &Value) -> &str {
    event["object"]["metadata"]["name"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_list_comes_in_pages_of_one_moment() {
    let server = with_services(&["a", "b", "c"]).await;
    let (code, first) = Answer::to(&server, "/api/v1/services?limit=2").await.json().await;
    assert_eq!((code, names(&first)), (200, vec!["a", "b"]));
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    server.apply(service("bb"));
    server.delete("Service", "shop", "c");
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, second) =
        Answer::to(&server, &format!("/api/v1/services?limit=2&continue={token}")).await.json().await;
    assert_eq!(names(&second), ["c"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert!(second["metadata"]["continue"].is_null());
    // Items look like a real server's: without kind and version.
    let real: Value = serde_json::from_str(fixtures::LIST_PAGE_1).unwrap();
    assert_eq!(first["items"][0].get("kind"), real["items"][0].get("kind"));
    assert_eq!(first["kind"], "ServiceList");
}

#[tokio::test]
async fn an_expired_token_is_answered_like_a_real_server_does() {
    let server = with_services(&["a", "b"]).await;
    server.limit_pages(1);
    let (_, first) = Answer::to(&server, "/api/v1/services?limit=500").await.json().await;
    server.expire_continue_tokens();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (code, mut status) =
        Answer::to(&server, &format!("/api/v1/services?continue={token}")).await.json().await;
    assert_eq!(code, 410);
    let real: Value = serde_json::from_str(fixtures::CONTINUE_EXPIRED).unwrap();
    status["metadata"]["continue"] = real["metadata"]["continue"].clone();
    assert_eq!(status, real);
}

#[tokio::test]
async fn selectors_choose_and_a_change_that_deselects_is_a_deletion() {
    let server = with_services(&["a"]).await;
    let mut headless = service("h");
    headless["spec"]["clusterIP"] = json!("None");
    server.apply(headless);
    let selected = "/api/v1/services?fieldSelector=spec.clusterIP%21%3DNone&labelSelector=%21service.kubernetes.io%2Fservice-proxy-name";
    let (_, list) = Answer::to(&server, selected).await.json().await;
    assert_eq!(names(&list), ["a"]);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = Answer::to(&server, &format!("{selected}&watch=true&resourceVersion={version}")).await;
    let mut foreign = service("a");
    foreign["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": "x"});
    server.apply(foreign);
    server.apply(service("a"));
    server.apply(service("a"));
    let events = watch.events_until(3).await;
    assert_eq!(brief(&events), [("DELETED", "a"), ("ADDED", "a"), ("MODIFIED", "a")]);
    let version = |event: &Value| {
        event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
    };
    assert!(version(&events[0]) < version(&events[1]));
    let (code, status) =
        Answer::to(&server, "/api/v1/services?fieldSelector=spec.colour%3Dred").await.json().await;
    assert_eq!((code, status["reason"].as_str()), (400, Some("BadRequest")));
}

#[tokio::test]
async fn a_streamed_list_ends_with_a_marked_bookmark() {
    let server = with_services(&["a", "b"]).await;
    let path = "/api/v1/services?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Answer::to(&server, path).await;
    let events = watch.events_until(3).await;
    assert_eq!(brief(&events), [("ADDED", "a"), ("ADDED", "b"), ("BOOKMARK", "")]);
    assert_eq!(events[2]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(events[0]["object"]["kind"], "Service");
    server.wait_for_watchers(&["services"]).await;
    server.apply(service("c"));
    assert_eq!(brief(&watch.events_until(4).await)[3], ("ADDED", "c"));

    server.set_streamed_lists(StreamedLists::NoStorage);
    let mut watch = Answer::to(&server, path).await;
    let real: Value = serde_json::from_str(fixtures::WATCH_LIST_UNSUPPORTED).unwrap();
    assert_eq!(watch.events_until(1).await, [real]);
    server.set_streamed_lists(StreamedLists::Forbidden);
    assert_eq!(Answer::to(&server, path).await.json().await.0, 422);
}

#[tokio::test]
async fn bookmarks_come_to_those_who_asked() {
    let server = with_services(&["a"]).await;
    server.send_bookmarks(Some(Duration::from_millis(10)));
    let mut watch = Answer::to(&server, "/api/v1/services?watch=true&allowWatchBookmarks=1").await;
    let first = watch.events_until(3).await;
    assert_eq!(brief(&first), [("ADDED", "a"), ("BOOKMARK", ""), ("BOOKMARK", "")]);
    // Something of another kind moves the version on.
    let version = server.apply(json!({"kind": "Node", "metadata": {"name": "n1"}})).unwrap();
    watch.until(&format!("\"resourceVersion\":\"{version}\"")).await;
    let mut without = Answer::to(&server, "/api/v1/services?watch=true&timeoutSeconds=1").await;
    while without.read().await > 0 && !without.text.ends_with("0\r\n\r\n") {}
    assert_eq!(brief(&without.events()), [("ADDED", "a")]);
}

#[tokio::test]
async fn a_watch_from_before_a_compaction_is_expired() {
    let server = with_services(&["a"]).await;
    let old = server.apply(service("b")).unwrap();
    server.apply(service("c"));
    let path = format!("/api/v1/services?watch=true&resourceVersion={old}");
    assert_eq!(brief(&Answer::to(&server, &path).await.events_until(1).await), [("ADDED", "c")]);
    server.compact();
    let events = Answer::to(&server, &path).await.events_until(1).await;
    let real: Value = serde_json::from_str(fixtures::WATCH_EXPIRED).unwrap();
    for field in ["code", "reason", "status", "kind"] {
        assert_eq!(events[0]["object"][field], real["object"][field], "{field}");
    }
    let mut running = Answer::to(&server, "/api/v1/services?watch=true").await;
    running.events_until(3).await;
    server.expire_watches();
    assert_eq!(running.events_until(4).await[3]["object"]["code"], 410);
    let (_, list) = Answer::to(&server, "/api/v1/services").await.json().await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut fresh =
        Answer::to(&server, &format!("/api/v1/services?watch=true&resourceVersion={version}")).await;
    server.apply(service("d"));
    assert_eq!(brief(&fresh.events_until(1).await), [("ADDED", "d")]);
}

#[tokio::test]
async fn faults_start_and_end_on_request() {
    let server = with_services(&["a"]).await;
    for code in [401, 403, 429, 500] {
        server.refuse(Some(Refusal { status: code, resource: "services" }));
        let (status, body) = Answer::to(&server, "/api/v1/services").await.json().await;
        assert_eq!((status, body["code"].as_u64()), (code, Some(u64::from(code))));
        assert_eq!(Answer::to(&server, "/api/v1/nodes").await.json().await.0, 200);
    }
    server.refuse(None);

    let mut watch = Answer::to(&server, "/api/v1/services?watch=true").await;
    watch.events_until(1).await;
    server.cut_connections().await;
    assert_eq!(watch.read().await, 0);

    server.stall(true);
    let mut stalled = Answer::to(&server, "/api/v1/services").await;
    stalled.until("\r\n\r\n").await;
    assert!(timeout(Duration::from_millis(50), stalled.read()).await.is_err(), "{}", stalled.text);
    server.stall(false);
    assert_eq!(stalled.json().await.0, 200);

    server.set_down(true).await;
    assert!(TcpStream::connect(server.address).await.is_err());
    server.set_down(false).await;

    server.break_next_list_after(0);
    let mut broken = Answer::to(&server, "/api/v1/services").await;
    while broken.read().await > 0 {}
    assert!(!broken.text.ends_with("0\r\n\r\n"), "{}", broken.text);

    let mut watch = Answer::to(&server, "/api/v1/services?watch=true").await;
    watch.events_until(1).await;
    server.inject("services", "nonsense");
    watch.until("nonsense\n").await;
}

#[tokio::test]
async fn objects_are_read_one_by_one() {
    let server = with_services(&["a"]).await;
    server.apply(json!({"kind": "Node", "metadata": {"name": "n1"}}));
    assert_eq!(Answer::to(&server, "/api/v1/nodes/n1").await.json().await.1["kind"], "Node");
    assert_eq!(Answer::to(&server, "/api/v1/namespaces/shop/services/a").await.json().await.0, 200);
    assert_eq!(Answer::to(&server, "/api/v1/nodes/n2").await.json().await.0, 404);
    assert_eq!(Answer::to(&server, "/apis/apps/v1/deployments").await.json().await.0, 404);
    let (_, other) = Answer::to(&server, "/api/v1/namespaces/default/services").await.json().await;
    assert_eq!(names(&other), Vec::<&str>::new());

    assert_eq!(server.count(Verb::Get, "nodes"), 2);
    assert_eq!(server.requests()[0].user_agent, "probe/1");
    let kubeconfig = std::fs::read_to_string(server.kubeconfig_file()).unwrap();
    assert!(kubeconfig.contains(&server.url()), "{kubeconfig}");
}
