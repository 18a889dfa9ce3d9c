//! What is never logged, at whatever level and by whichever library.

use portolan_testkit::api_server::Refusal;
use portolan_testkit::forward_proxy::{ForwardProxy, ProxyProtocol};

use super::credentials::{Folder, cluster, follow, serving_tls};
use super::*;
use crate::tests::log::Log;

/// Lines of a key's PEM without its first and last, which are the same in all.
fn lines_of(pem: &str) -> impl Iterator<Item = String> {
    pem.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned)
}

#[tokio::test]
async fn no_secret_is_logged_at_any_level_nor_printed() {
    let (log, _guard) = Log::capture_up_to(tracing::Level::TRACE);
    let mut secrets = vec!["TopSecret".to_owned(), "VG9wU2VjcmV0".to_owned()];
    let v1 = "client.authentication.k8s.io/v1";
    let server = serving_tls().await;
    let pair = server.issue_client_certificate("client").unwrap();
    secrets.extend(lines_of(&pair.key));
    let issued = json!({"kind": "ExecCredential", "apiVersion": v1, "status": {
        "token": "TopSecretOfPlugin", "clientCertificateData": pair.certificate, "clientKeyData": pair.key,
    }});
    let script = "echo TopSecretError >&2; cat \"$1/issued\"\n";
    let users = [
        json!({"token": "TopSecretToken"}),
        json!({"username": "u", "password": "TopSecretPassword"}),
        json!({"tokenFile": "token", "client-certificate": "client.crt", "client-key": "client.key"}),
        json!({"exec": {
            "apiVersion": v1, "command": "sh", "args": ["plugin", ".", "TopSecretArgument"],
            "env": [{"name": "PASSWORD", "value": "TopSecretVariable"}],
        }}),
    ];
    for mut user in users {
        let (folder, server) = (Folder::new(), serving_tls().await);
        folder.put("token", "TopSecretFile");
        folder.put_pair(&pair);
        folder.put("issued", &issued.to_string());
        folder.put("plugin", script);
        if let Some(args) = user.pointer_mut("/exec/args") {
            args[0] = folder.path("plugin").to_str().unwrap().into();
            args[1] = folder.path("").to_str().unwrap().into();
        }
        let proxy = ForwardProxy::start(ProxyProtocol::Http, &server, None).await.unwrap();
        let mut cluster = cluster(&server);
        cluster["proxy-url"] = format!("http://u:TopSecret@{}", proxy.address()).into();
        let place = folder.kubeconfig(&cluster, &user);
        let source = ApiSource::new(&place, NODE, TIMING, Arc::new(())).await.unwrap();
        let printed = format!("{source:?} {source:#?} {place:?}");
        assert!(!secrets.iter().any(|secret| printed.contains(secret)), "{printed}");
        drop(source);
        let mut following = follow(server, place, TIMING).await;
        // Every failure, and every message about renewed credentials.
        following.server.refuse(Some(Refusal { status: 401, resource: "" }));
        following.server.cut_connections().await;
        following.failed(8).await;
        folder.put("token", "TopSecret\nTopSecret");
        folder.put("client.key", &pair.key[..pair.key.len() / 2]);
        folder.put("issued", "TopSecret");
        following.failed(following.metrics.get(Count::Failures) + 8).await;
        following.server.set_down(true).await;
        following.failed(following.metrics.get(Count::Failures) + 8).await;
        following.finish().await;
    }
    let lines = log.lines();
    assert!(lines.iter().any(|line| line.contains("TRACE")), "libraries were heard");
    let bad: Vec<_> =
        lines.iter().filter(|line| secrets.iter().any(|secret| line.contains(secret))).collect();
    assert_eq!(bad, Vec::<&String>::new());
}
