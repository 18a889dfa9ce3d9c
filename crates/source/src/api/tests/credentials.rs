//! Credentials in files that are replaced while we run.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portolan_testkit::api_server::ClientCertificate;
use tempfile::TempDir;

use super::*;
use crate::tests::log::Log;

/// Never, as far as a test is concerned.
const NEVER: Duration = Duration::from_secs(3600);

/// A folder with a kubeconfig and the files that it names.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file in the place of another in one step.
    pub(super) fn put(&self, name: &str, text: &str) {
        fs::write(self.path("draft"), text).unwrap();
        fs::rename(self.path("draft"), self.path(name)).unwrap();
    }

    pub(super) fn put_pair(&self, pair: &ClientCertificate) {
        self.put("client.crt", &pair.certificate);
        self.put("client.key", &pair.key);
    }

    /// Writes a kubeconfig. Files are named as they stand beside it.
    pub(super) fn kubeconfig(&self, cluster: &Value, user: &Value) -> super::super::ApiServer {
        let kubeconfig = json!({
            "kind": "Config", "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "b", "user": "c"}}],
            "clusters": [{"name": "b", "cluster": cluster}], "users": [{"name": "c", "user": user}],
        });
        fs::write(self.path("kubeconfig"), kubeconfig.to_string()).unwrap();
        super::super::ApiServer { kubeconfig: Some(self.path("kubeconfig")), ..Default::default() }
    }
}

/// What a kubeconfig says of a server with TLS.
pub(super) fn cluster(server: &ApiServer) -> Value {
    json!({"server": server.url(), "certificate-authority": server.authority_file().unwrap()})
}

pub(super) async fn serving_tls() -> ApiServer {
    let server = ApiServer::start_with_tls().await.unwrap();
    server.apply_all(small_cluster(2));
    server
}

/// Follows with the first lists and all watches there.
pub(super) async fn follow(server: ApiServer, place: super::super::ApiServer, timing: Timing) -> Following {
    let mut following = Following::start_with(server, place, timing, Arc::new(())).await;
    following.settle().await;
    following.watched().await;
    following
}

impl Following {
    /// Clients whose certificates the requests showed, each once.
    fn clients(&self) -> Vec<String> {
        each_once(self.server.requests().into_iter().map(|request| request.client))
    }

    /// Headers `authorization` of the requests, each once.
    fn authorizations(&self) -> Vec<String> {
        each_once(self.server.requests().into_iter().map(|request| request.authorization))
    }

    /// Waits until the server has no connection of this client any more.
    pub(super) async fn without(&mut self, client: &str) {
        let gone = self.server.wait_for_disconnect(client);
        tokio::time::timeout(Duration::from_secs(20), gone).await.expect("no connection of an old identity");
    }

    /// Waits until a change of the server has come through, after its connections were cut.
    pub(super) async fn resume(&mut self, ip: &str) {
        self.server.cut_connections().await;
        self.server.apply(service("s000", ip));
        self.settle().await;
    }
}

/// A way to replace a file of this name.
type Put = fn(&Folder, &str, &str);

/// In the order in which they came first; a request may overtake one with an older identity.
fn each_once(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut known = Vec::new();
    for one in all {
        if !known.contains(&one) {
            known.push(one);
        }
    }
    known
}

#[tokio::test]
async fn a_renewed_client_certificate_is_presented_and_connections_of_the_old_one_are_closed() {
    let both = |pair: &ClientCertificate| format!("{}{}", pair.certificate, pair.key);
    let ways: [(&str, Put); 3] = [
        ("renamed over", |folder, name, text| folder.put(name, text)),
        ("written in place", |folder, name, text| fs::write(folder.path(name), text).unwrap()),
        // As the kubelet does with kubelet-client-current.pem.
        ("a link that is swapped", |folder, name, text| {
            let target =
                folder.path(&format!("{}.pem", text.len() + folder.0.path().read_dir().unwrap().count()));
            fs::write(&target, text).unwrap();
            symlink(target, folder.path("link")).unwrap();
            fs::rename(folder.path("link"), folder.path(name)).unwrap();
        }),
    ];
    for (way, put) in ways {
        let (log, _guard) = Log::capture();
        let (folder, server) = (Folder::new(), serving_tls().await);
        let pairs = ["first", "second"].map(|name| server.issue_client_certificate(name).unwrap());
        put(&folder, "current.pem", &both(&pairs[0]));
        let user = json!({"client-certificate": "current.pem", "client-key": "current.pem"});
        let place = folder.kubeconfig(&cluster(&server), &user);
        server.accept_only(&["first", "second"]);
        let mut following = follow(server, place, TIMING).await;
        put(&folder, "current.pem", &both(&pairs[1]));
        following.without("first").await;
        following.watched().await;
        following.server.apply(service("s000", "10.96.7.7"));
        following.settle().await;
        assert_eq!(following.clients(), ["first", "second"], "{way}");
        assert_eq!(following.downstream.world.services.lists, [2], "{way}: watches went on where they were");
        assert_eq!(following.metrics.get(Count::Failures), 0, "{way}");
        let lines = log.lines();
        let logged = lines.iter().filter(|line| line.contains("Presenting a renewed client certificate"));
        assert_eq!(logged.count(), 1, "{way}: {lines:#?}");
        assert!(
            !lines.iter().any(|line| line.contains("WARN") || line.contains("ERROR")),
            "{way}: {lines:#?}"
        );
        following.finish().await;
    }
}

#[tokio::test]
async fn a_rejected_client_certificate_is_read_again_before_the_next_request() {
    let (folder, server) = (Folder::new(), serving_tls().await);
    let pairs = ["first", "second"].map(|name| server.issue_client_certificate(name).unwrap());
    folder.put_pair(&pairs[0]);
    let user = json!({"client-certificate": "client.crt", "client-key": "client.key"});
    let place = folder.kubeconfig(&cluster(&server), &user);
    let mut following = follow(server, place, Timing { credentials: NEVER, ..TIMING }).await;
    following.server.accept_only(&["second"]);
    following.server.cut_connections().await;
    following.failed(8).await;
    folder.put_pair(&pairs[1]);
    following.server.apply(service("s000", "10.96.7.7"));
    following.settle().await;
    assert_eq!(following.clients(), ["first", "second"]);
    following.finish().await;
}

#[tokio::test]
async fn an_unusable_certificate_pair_keeps_the_previous_one_until_it_matches() {
    let (folder, server) = (Folder::new(), serving_tls().await);
    let pairs = ["first", "second"].map(|name| server.issue_client_certificate(name).unwrap());
    folder.put_pair(&pairs[0]);
    let user = json!({"client-certificate": "client.crt", "client-key": "client.key"});
    let place = folder.kubeconfig(&cluster(&server), &user);
    let mut following = follow(server, place, Timing { credentials: NEVER, ..TIMING }).await;
    let half = |text: &str| text[..text.len() / 2].to_owned();
    let (certificate, key) = (&pairs[1].certificate, &pairs[1].key);
    let (log, _guard) = Log::capture();
    // A request may come after the first of two files is replaced, so neighbours never make a pair that matches.
    let steps = [
        (certificate.clone(), pairs[0].key.clone()),
        (certificate.clone(), String::new()),
        (certificate.clone(), half(key)),
        (half(certificate), key.clone()),
        (String::new(), key.clone()),
    ];
    for (step, (certificate, key)) in steps.iter().enumerate() {
        // A watch that is being opened has read its credentials already, and the cut below would miss it.
        following.watched().await;
        folder.put("client.crt", certificate);
        folder.put("client.key", key);
        following.resume(&format!("10.96.7.{step}")).await;
    }
    following.watched().await;
    fs::remove_file(folder.path("client.key")).unwrap();
    following.resume("10.96.7.20").await;
    let lines = log.lines();
    let logged = lines
        .iter()
        .filter(|line| line.contains("Cannot use renewed credentials; keeping the previous ones"));
    let logged: Vec<_> = logged.collect();
    for reason in [
        "the client key does not belong to the client certificate",
        "is not whole PEM",
        "there is no client key",
        "there is no client certificate",
        "client.key: No such file",
    ] {
        assert_eq!(logged.iter().filter(|line| line.contains(reason)).count(), 1, "{reason}: {logged:#?}");
    }
    assert_eq!(following.clients(), ["first"]);
    following.watched().await;
    folder.put_pair(&pairs[1]);
    following.resume("10.96.7.30").await;
    assert_eq!(following.clients(), ["first", "second"]);
    following.finish().await;
}

#[tokio::test]
async fn renewed_certificates_of_the_authority_are_used_for_the_next_connection() {
    let mut following = follow(serving_tls().await, super::super::ApiServer::default(), TIMING).await;
    following.server.renew_certificates().unwrap();
    following.resume("10.96.7.7").await;
    assert_eq!(following.downstream.world.services.lists, [2]);
    following.finish().await;
}

#[tokio::test]
async fn an_unusable_certificate_authority_keeps_the_previous_one() {
    let (folder, server) = (Folder::new(), serving_tls().await);
    let authority = fs::read_to_string(server.authority_file().unwrap()).unwrap();
    folder.put("ca.crt", &authority);
    let cluster = json!({"server": server.url(), "certificate-authority": "ca.crt"});
    let place = folder.kubeconfig(&cluster, &json!({}));
    let mut following = follow(server, place, TIMING).await;
    for (step, (text, reason)) in
        [("", "holds no certificate"), (&authority[..authority.len() / 2], "is not whole PEM")]
            .into_iter()
            .enumerate()
    {
        let (log, _guard) = Log::capture();
        folder.put("ca.crt", text);
        following.resume(&format!("10.96.7.{step}")).await;
        assert!(log.lines().iter().any(|line| line.contains(reason)), "{reason}: {:#?}", log.lines());
    }
    following.finish().await;
}

#[tokio::test]
async fn a_renewed_token_is_sent_with_the_next_request() {
    let (folder, server) = (Folder::new(), serving_tls().await);
    folder.put("token", "first\n");
    let place = folder.kubeconfig(&cluster(&server), &json!({"tokenFile": "token", "token": "inline"}));
    let mut following = follow(server, place, Timing { credentials: NEVER, ..TIMING }).await;
    assert_eq!(following.authorizations(), ["Bearer first"]);
    folder.put("token", "second\n");
    following.resume("10.96.7.1").await;
    assert_eq!(following.authorizations(), ["Bearer first", "Bearer second"]);
    // An old token is better than none.
    for (step, text) in [None, Some(""), Some(" \n"), Some("two\nlines")].into_iter().enumerate() {
        fs::remove_file(folder.path("token")).unwrap();
        if let Some(text) = text {
            folder.put("token", text);
        }
        following.resume(&format!("10.96.8.{step}")).await;
        assert_eq!(following.authorizations(), ["Bearer first", "Bearer second"], "{text:?}");
        folder.put("token", "second");
    }
    following.finish().await;
}

#[tokio::test]
async fn credentials_in_the_kubeconfig_have_precedence_over_a_plugin() {
    let encode = |text: &str| BASE64.encode(text);
    let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "/nowhere/plugin"});
    let users = [
        (json!({"token": "t", "exec": exec}), "Bearer t"),
        (json!({"username": "u", "password": "p", "exec": exec}), "Basic dTpw"),
        (json!({"token": "t", "tokenFile": "none"}), "Bearer t"),
        (json!({"token": "t", "tokenFile": ""}), "Bearer t"),
    ];
    for (mut user, authorization) in users {
        let (folder, server) = (Folder::new(), serving_tls().await);
        let pair = server.issue_client_certificate("inline").unwrap();
        let authority = fs::read_to_string(server.authority_file().unwrap()).unwrap();
        let cluster = json!({"server": server.url(), "certificate-authority-data": encode(&authority)});
        user["client-certificate-data"] = encode(&pair.certificate).into();
        user["client-key-data"] = encode(&pair.key).into();
        let following = follow(server, folder.kubeconfig(&cluster, &user), TIMING).await;
        for request in following.server.requests() {
            assert_eq!((&*request.client, &*request.authorization), ("inline", authorization));
        }
        following.finish().await;
    }
}
