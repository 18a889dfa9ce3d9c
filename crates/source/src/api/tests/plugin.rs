//! Credential plugins.

use std::fs;

use portolan_testkit::api_server::ClientCertificate;

use super::credentials::{Folder, cluster, follow, serving_tls};
use super::*;
use crate::tests::log::Log;

const V1: &str = "client.authentication.k8s.io/v1";

/// A user whose plugin writes a line to `runs` and then prints the file `credential`.
fn user(folder: &Folder) -> Value {
    folder.put("plugin", "echo run >> \"$1/runs\"; exec cat \"$1/credential\"\n");
    json!({"exec": {
        "apiVersion": V1, "interactiveMode": "Never",
        "command": "sh", "args": [folder.path("plugin"), folder.path("")],
    }})
}

fn print(folder: &Folder, status: &Value) {
    let credential = json!({"kind": "ExecCredential", "apiVersion": V1, "status": status});
    folder.put("credential", &credential.to_string());
}

fn print_pair(folder: &Folder, pair: &ClientCertificate) {
    print(folder, &json!({"clientCertificateData": pair.certificate, "clientKeyData": pair.key}));
}

fn runs(folder: &Folder) -> usize {
    fs::read_to_string(folder.path("runs")).unwrap_or_default().lines().count()
}

fn last_authorization(following: &Following) -> String {
    following.server.requests().pop().unwrap().authorization
}

#[tokio::test]
async fn a_plugin_is_run_again_when_its_token_is_rejected_before_it_expires() {
    let (folder, server) = (Folder::new(), serving_tls().await);
    let place = folder.kubeconfig(&cluster(&server), &user(&folder));
    print(&folder, &json!({"token": "first", "expirationTimestamp": "2999-01-01T00:00:00Z"}));
    server.accept_only(&["Bearer first"]);
    let mut following = follow(server, place, TIMING).await;
    assert_eq!(runs(&folder), 1);
    // Without an expiry it is good for as long as the server takes it.
    for (count, token) in [(2, "second"), (3, "third")] {
        print(&folder, &json!({"token": token}));
        following.server.accept_only(&[&format!("Bearer {token}")]);
        following.resume(&format!("10.96.7.{count}")).await;
        following.watched().await;
        assert_eq!(runs(&folder), count, "four watches were refused");
        assert_eq!(last_authorization(&following), format!("Bearer {token}"));
    }
    following.finish().await;
}

#[tokio::test]
async fn a_certificate_of_a_plugin_is_presented_and_renewed_when_it_is_rejected() {
    let (folder, server) = (Folder::new(), serving_tls().await);
    let place = folder.kubeconfig(&cluster(&server), &user(&folder));
    let pairs = ["first", "second"].map(|name| server.issue_client_certificate(name).unwrap());
    print_pair(&folder, &pairs[0]);
    server.accept_only(&["first"]);
    let mut following = follow(server, place, TIMING).await;
    print_pair(&folder, &pairs[1]);
    following.server.accept_only(&["second"]);
    following.resume("10.96.7.7").await;
    following.without("first").await;
    following.watched().await;
    assert_eq!(runs(&folder), 2);
    assert_eq!(following.server.requests().pop().unwrap().client, "second");
    following.finish().await;
}

#[tokio::test]
async fn a_certificate_of_a_plugin_that_expired_is_renewed_and_connections_with_it_are_closed() {
    let (folder, server) = (Folder::new(), serving_tls().await);
    let place = folder.kubeconfig(&cluster(&server), &user(&folder));
    let pairs = ["first", "second"].map(|name| server.issue_client_certificate(name).unwrap());
    let expired = |pair: &ClientCertificate| {
        json!({
            "clientCertificateData": pair.certificate, "clientKeyData": pair.key,
            "expirationTimestamp": "2020-01-01T00:00:00Z",
        })
    };
    print(&folder, &expired(&pairs[0]));
    let mut following = follow(server, place, TIMING).await;
    print_pair(&folder, &pairs[1]);
    following.without("first").await;
    following.watched().await;
    assert_eq!(following.metrics.get(Count::Failures), 0, "nothing was refused");
    following.finish().await;
}

#[tokio::test]
async fn a_missing_plugin_is_logged_and_run_once_installed() {
    let (log, _guard) = Log::capture();
    let (folder, server) = (Folder::new(), serving_tls().await);
    let exec = json!({"apiVersion": V1, "command": "./bin/plugin", "installHint": "apt install plugin"});
    let place = folder.kubeconfig(&cluster(&server), &json!({"exec": exec}));
    server.accept_only(&["Bearer late"]);
    let mut following = Following::start_with(server, place, TIMING, Arc::new(())).await;
    following.failed(8).await;
    let named = |line: &String| {
        line.contains("Failed to read objects")
            && line.contains("kind=\"Service\" verb=\"list\" err=cannot get credentials: credential plugin")
            && line.contains("bin/plugin\" is not installed: apt install plugin")
    };
    assert_eq!(log.lines().into_iter().filter(named).count(), 1, "{:#?}", log.lines());
    assert_eq!(following.server.requests(), [], "no request without credentials");

    let late = json!({"kind": "ExecCredential", "apiVersion": V1, "status": {"token": "late"}});
    fs::create_dir(folder.path("bin")).unwrap();
    folder.put("bin/plugin", &format!("#!/bin/sh\necho '{late}'\n"));
    fs::set_permissions(folder.path("bin/plugin"), executable()).unwrap();
    following.settle().await;
    following.finish().await;
}

#[tokio::test]
async fn a_plugin_that_fails_leaves_a_token_in_place_that_has_not_expired() {
    let (log, _guard) = Log::capture();
    let (folder, server) = (Folder::new(), serving_tls().await);
    let place = folder.kubeconfig(&cluster(&server), &user(&folder));
    print(&folder, &json!({"token": "good"}));
    let mut following = follow(server, place, TIMING).await;
    fs::remove_file(folder.path("credential")).unwrap();
    following.server.accept_only(&[]);
    following.server.cut_connections().await;
    while runs(&folder) < 2 {
        following.downstream.during(Duration::from_millis(10)).await;
    }
    following.server.accept_only(&["Bearer good"]);
    following.resume("10.96.7.7").await;
    assert_eq!(last_authorization(&following), "Bearer good");
    let logged = log.lines().into_iter().filter(|line| line.contains("Failed to renew credentials"));
    let logged: Vec<_> = logged.collect();
    assert!(matches!(&logged[..], [one] if one.contains("failed: exit status: 1")), "{logged:#?}");
    following.finish().await;
}

#[tokio::test]
async fn a_plugin_receives_exec_info_arguments_and_environment() {
    for (provide, api_version) in [(true, V1), (false, "client.authentication.k8s.io/v1beta1")] {
        let (folder, server) = (Folder::new(), serving_tls().await);
        folder.put(
            "plugin",
            "echo \"$GREETING $1 $KUBERNETES_EXEC_INFO\" > \"$1/logged\"; cat \"$1/credential\"\n",
        );
        let exec = json!({
            "apiVersion": api_version, "command": "sh", "args": [folder.path("plugin"), folder.path("")],
            "env": [{"name": "GREETING", "value": "hello"}], "provideClusterInfo": provide,
        });
        let credential =
            json!({"kind": "ExecCredential", "apiVersion": api_version, "status": {"token": "t"}});
        folder.put("credential", &credential.to_string());
        let place = folder.kubeconfig(&cluster(&server), &json!({"exec": exec}));
        let following = follow(server, place, TIMING).await;
        let logged = fs::read_to_string(folder.path("logged")).unwrap();
        let front = format!("hello {} ", folder.path("").display());
        let info: Value = serde_json::from_str(logged.strip_prefix(&front).unwrap()).unwrap();
        let head = [&info["kind"], &info["apiVersion"], &info["spec"]["interactive"]];
        assert_eq!(head, [&json!("ExecCredential"), &json!(api_version), &json!(false)]);
        let server = &info["spec"]["cluster"]["server"];
        assert_eq!(*server, if provide { json!(following.server.url()) } else { Value::Null });
        following.finish().await;
    }
}

#[tokio::test]
async fn invalid_output_of_a_plugin_is_an_error_that_does_not_quote_it() {
    let pair = serving_tls().await.issue_client_certificate("x").unwrap();
    let of =
        |status: Value| json!({"kind": "ExecCredential", "apiVersion": V1, "status": status}).to_string();
    let cases = [
        ("secret".to_owned(), "printed no ExecCredential of client.authentication.k8s.io/v1"),
        ("status: {token: secret}".to_owned(), "printed no ExecCredential of"),
        (of(Value::Null), "without status"),
        (of(json!({})), "printed neither a token nor a certificate"),
        (of(json!({"token": "secret\nsecret"})), "printed a token that no header can hold"),
        (of(json!({"clientCertificateData": pair.certificate})), "a certificate or a key without the other"),
        (
            of(json!({"token": "secret", "expirationTimestamp": "secret"})),
            "an expirationTimestamp that is no time",
        ),
    ];
    for (printed, reason) in cases {
        let (log, _guard) = Log::capture_up_to(tracing::Level::TRACE);
        let (folder, server) = (Folder::new(), serving_tls().await);
        let place = folder.kubeconfig(&cluster(&server), &user(&folder));
        folder.put("credential", &printed);
        let mut following = Following::start_with(server, place, TIMING, Arc::new(())).await;
        following.failed(4).await;
        let lines = log.lines();
        assert!(lines.iter().any(|line| line.contains(reason)), "{reason}: {lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("secret")), "{lines:#?}");
        following.finish().await;
    }
}

#[tokio::test]
async fn a_plugin_that_does_not_end_is_killed() {
    let (folder, server) = (Folder::new(), serving_tls().await);
    let exec = json!({"apiVersion": V1, "command": "sleep", "args": ["3600"]});
    let place = folder.kubeconfig(&cluster(&server), &json!({"exec": exec}));
    let (log, _guard) = Log::capture();
    let timing = Timing { answer: Duration::from_millis(50), ..TIMING };
    let mut following = Following::start_with(server, place, timing, Arc::new(())).await;
    following.failed(4).await;
    assert!(
        log.lines().iter().any(|line| line.contains("\"sleep\" did not end within 50ms")),
        "{:#?}",
        log.lines()
    );
    following.finish().await;
}

#[tokio::test]
async fn an_unusable_plugin_is_an_error_at_the_start() {
    let cases = [
        (json!({"apiVersion": V1}), "exec has no command"),
        (json!({"command": "x"}), "exec.apiVersion is \"\" (want client.authentication.k8s.io/v1 or"),
        (
            json!({"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}),
            "exec.apiVersion is",
        ),
        (json!({"command": "x", "apiVersion": V1, "interactiveMode": "Always"}), "there is no terminal"),
    ];
    let folder = Folder::new();
    for (exec, reason) in cases {
        let place = folder.kubeconfig(&json!({"server": "https://127.0.0.1:1"}), &json!({"exec": exec}));
        let error = ApiSource::new(&place, NODE, TIMING, Arc::new(())).await.unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("cannot use the user of the kubeconfig ") && message.contains(reason),
            "{error}"
        );
    }
    let place = folder.kubeconfig(
        &json!({"server": "https://127.0.0.1:1"}),
        &json!({"auth-provider": {"name": "gcp", "config": {"access-token": "secret"}}}),
    );
    let error = ApiSource::new(&place, NODE, TIMING, Arc::new(())).await.unwrap_err();
    assert!(error.to_string().ends_with("auth-provider \"gcp\" is not supported; use exec"), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

fn executable() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}
