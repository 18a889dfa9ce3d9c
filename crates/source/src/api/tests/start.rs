//! Finding the server, and what is said when it cannot be had.

use std::error::Error as _;
use std::io::Write as _;
use std::time::Duration;

use portolan_testkit::api_server::Refusal;

use super::*;
use crate::error::SourceError;
use crate::tests::log::Log;

async fn start_error(place: super::super::ApiServer) -> (SourceError, String) {
    let error = ApiSource::new(&place, NODE, TIMING, Arc::new(())).await.unwrap_err();
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    (error, cause)
}

fn kubeconfig(content: &str) -> (tempfile::NamedTempFile, super::super::ApiServer) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    let place = super::super::ApiServer {
        kubeconfig: Some(file.path().to_owned()),
        master: None,
        ..Default::default()
    };
    (file, place)
}

#[tokio::test]
async fn an_unusable_kubeconfig_reports_the_reason() {
    let nowhere = super::super::ApiServer {
        kubeconfig: Some("/nowhere/kubeconfig".into()),
        master: None,
        ..Default::default()
    };
    let (error, cause) = start_error(nowhere).await;
    assert_eq!(error.to_string(), "cannot use the kubeconfig /nowhere/kubeconfig");
    assert!(cause.contains("No such file"), "{cause}");

    let cases = [
        ("kind: Config\n", "current context"),
        ("kind: Config\ncurrent-context: a\n", "context"),
        ("kind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: b}}]\n", "cluster"),
        (
            "kind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: b}}]\nclusters: [{name: b, cluster: {}}]\n",
            "url",
        ),
    ];
    for (content, part) in cases {
        let (_file, place) = kubeconfig(content);
        let (error, cause) = start_error(place).await;
        assert!(error.to_string().starts_with("cannot use the kubeconfig "), "{content}: {error:?}");
        assert!(cause.contains(part), "{content}: {cause}");
    }
}

#[tokio::test]
async fn a_kubeconfig_with_a_syntax_error_reports_the_position_and_no_content() {
    for (content, place) in [
        ("kind: Config\nusers:\n- name: u\n  user:\n    token: secret\n   x: [\n", ", line 6, column 4"),
        ("kind: Config\nusers:\n- name: u\n  user:\n    token: [secret]\n", ", line 5, column 12"),
        ("kind: Config\nusers:\n- name: u\n  user: secret\n", ""),
    ] {
        let (file, server) = kubeconfig(content);
        let (error, cause) = start_error(server).await;
        let message = error.to_string();
        let expected = format!("cannot parse the kubeconfig {}{place}", file.path().display());
        assert!(message.starts_with(&expected), "{message}");
        assert!(!format!("{error:?}{message}{cause}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_read_are_an_error() {
    for (file, part, cluster, user) in [
        ("ca.crt", "No such file", "certificate-authority: /nowhere/ca.crt", ""),
        ("c", "No such file", "", "client-certificate: /nowhere/c, client-key: /nowhere/k"),
        ("token", "No such file", "", "tokenFile: /nowhere/token"),
    ] {
        let (_file, place) = kubeconfig(&format!(
            "kind: Config\ncurrent-context: a\ncontexts: [{{name: a, context: {{cluster: b, user: c}}}}]\n\
             clusters: [{{name: b, cluster: {{server: 'https://127.0.0.1:1', {cluster}}}}}]\nusers: [{{name: c, user: {{{user}}}}}]\n"
        ));
        let (error, cause) = start_error(place).await;
        assert_eq!(error.to_string(), format!("cannot read /nowhere/{file}"));
        assert!(cause.contains(part), "{cause}");
    }
    let (_file, place) = kubeconfig(
        "kind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: b, user: c}}]\n\
         clusters: [{name: b, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: c, user: {client-certificate-data: QQ==}}]\n",
    );
    let (error, cause) = start_error(place).await;
    assert_eq!(error.to_string(), "cannot set up a client for the API server https://127.0.0.1:1");
    assert_eq!(cause, "there is a client certificate without a key");
}

#[tokio::test]
async fn a_master_that_is_no_url_is_an_error() {
    let place = super::super::ApiServer {
        kubeconfig: None,
        master: Some("http://a b".to_owned()),
        ..Default::default()
    };
    assert_eq!(start_error(place).await.0.to_string(), "the API server address \"http://a b\" is no URL");
    let secret =
        super::super::ApiServer { master: Some("http://u:secret@a b".to_owned()), ..Default::default() };
    let (error, _) = start_error(secret).await;
    assert_eq!(error.to_string(), "the API server address \"http://a b\" is no URL");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn master_replaces_the_kubeconfig_or_its_server() {
    let server = serving(small_cluster(2)).await;
    let (_file, elsewhere) = kubeconfig(
        "kind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: b}}]\nclusters: [{name: b, cluster: {server: 'http://127.0.0.1:1'}}]\n",
    );
    let address = server.url().trim_start_matches("http://").to_owned();
    let places = [
        super::super::ApiServer { kubeconfig: None, master: Some(server.url()), ..Default::default() },
        super::super::ApiServer { kubeconfig: None, master: Some(address), ..Default::default() },
        super::super::ApiServer { master: Some(server.url()), ..elsewhere },
    ];
    for place in places {
        let source = ApiSource::new(&place, NODE, TIMING, Arc::new(())).await.unwrap();
        let (sender, mut downstream) = Downstream::new();
        let task = tokio::spawn(source.run(sender, std::future::pending()));
        assert_eq!(downstream.listed().await.services.lists, [2], "{place:?}");
        drop(downstream);
        // The receiver is closed: the source ends by itself.
        tokio::time::timeout(Duration::from_secs(60), task).await.expect("an end").unwrap();
    }
}

/// By an address in the URL, and by a name once it is resolved: before anything is known of what the server has.
#[tokio::test]
async fn the_address_of_the_server_is_sent_before_its_objects() {
    let server = serving([]).await;
    let url: http::Uri = server.url().parse().unwrap();
    let port = url.port_u16().unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let place =
            super::super::ApiServer { master: Some(format!("http://{host}:{port}")), ..Default::default() };
        let source = ApiSource::new(&place, NODE, TIMING, Arc::new(())).await.unwrap();
        let (sender, mut downstream) = Downstream::new();
        let task = tokio::spawn(source.run(sender, std::future::pending()));
        let world = downstream.listed().await;
        assert!(world.api_server.contains(&([127, 0, 0, 1], port).into()), "{host}: {:?}", world.api_server);
        drop(downstream);
        tokio::time::timeout(Duration::from_secs(60), task).await.expect("an end").unwrap();
    }
}

/// Lines about Services that came before the source was stopped.
async fn log_while_running(master: String) -> Vec<String> {
    let (log, _guard) = Log::capture();
    let place = super::super::ApiServer { kubeconfig: None, master: Some(master), ..Default::default() };
    let source = ApiSource::new(&place, NODE, TIMING, Arc::new(())).await.unwrap();
    let metrics = source.metrics();
    let (sender, mut downstream) = Downstream::new();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(source.run(sender, async move {
        let _ = stopped.await;
    }));
    while metrics.get(Count::Failures) < 12 {
        assert_eq!(downstream.during(Duration::from_millis(10)).await, 0);
    }
    stop.send(()).unwrap();
    task.await.unwrap();
    let lines = log.lines();
    let logged = |level: &str| lines.iter().filter(|line| line.contains(level)).count();
    assert_eq!((logged("ERROR"), logged("WARN")), (3, 1), "one line for each kind: {lines:#?}");
    lines.into_iter().filter(|line| line.contains("kind=\"Service\"")).collect()
}

#[tokio::test]
async fn a_closed_port_is_logged_with_server_kind_and_reason() {
    let server = serving([]).await;
    server.set_down(true).await;
    let logged = log_while_running(server.url()).await;
    for part in ["Failed to read objects", "verb=\"list\"", "Connection refused", &server.url(), "retryAfter"]
    {
        assert!(logged[0].contains(part), "no {part:?} in {}", logged[0]);
    }
}

#[tokio::test]
async fn a_host_that_does_not_resolve_is_logged() {
    // RFC 6761: this name never resolves.
    let logged = log_while_running("http://api.invalid:6443".to_owned()).await;
    for part in ["Failed to read objects", "verb=\"list\"", "dns error", "http://api.invalid:6443"] {
        assert!(logged[0].contains(part), "no {part:?} in {}", logged[0]);
    }
}

#[tokio::test]
async fn a_rejection_is_logged_with_the_servers_message() {
    let cases = [
        (401, "the server answered 401, Unauthorized"),
        (403, "the server answered 403, Forbidden, services is forbidden: User"),
    ];
    for (status, words) in cases {
        let server = serving([]).await;
        server.refuse(Some(Refusal { status, resource: "" }));
        let logged = log_while_running(server.url()).await;
        assert!(logged[0].contains(words), "{logged:#?}");
    }
}

#[tokio::test]
async fn a_malformed_object_is_logged_with_its_name() {
    let (log, _guard) = Log::capture();
    let mut bad = service("s000", "10.96.0.0");
    bad["spec"]["ports"][0]["port"] = json!("eighty");
    let following = Following::of([bad, node(NODE)]).await;
    let line = log.lines().into_iter().find(|line| line.contains("ERROR")).unwrap();
    assert!(line.contains("Service shop/s000 is malformed at spec.ports[0].port"), "{line}");
    following.finish().await;
}
