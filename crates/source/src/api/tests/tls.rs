//! A server that we reach over TLS, as every real one is.

use super::credentials::{Folder, follow, serving_tls};
use super::*;
use crate::recorder::{Regarding, Report, ReportKind};
use crate::tests::log::Log;

#[tokio::test]
async fn a_server_certificate_from_the_authority_of_the_kubeconfig_is_accepted() {
    let server = ApiServer::start_with_tls().await.unwrap();
    server.apply_all(small_cluster(3));
    let mut following = Following::start(server, TIMING).await;
    following.settle().await;
    following.watched().await;
    following.reports.record(Report {
        kind: ReportKind::Normal,
        reason: "Starting",
        action: "StartKubeProxy",
        regarding: Regarding::Node,
        note: String::new(),
    });
    following.reports.flush(Duration::from_secs(10)).await;
    assert_eq!(following.server.events().len(), 1);
    following.server.cut_connections().await;
    following.server.apply(service("s000", "10.96.7.7"));
    following.settle().await;
    following.finish().await;
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_rejected_and_logged() {
    let (log, _guard) = Log::capture();
    let (folder, server) = (Folder::new(), serving_tls().await);
    // This copy is not renewed.
    folder.put("ca.crt", &std::fs::read_to_string(server.authority_file().unwrap()).unwrap());
    let cluster = json!({"server": server.url(), "certificate-authority": "ca.crt"});
    let place = folder.kubeconfig(&cluster, &json!({"token": "secret"}));
    let mut following = follow(server, place, TIMING).await;
    let known = following.server.requests();
    following.server.renew_certificates().unwrap();
    following.server.cut_connections().await;
    following.failed(16).await;
    let logged = log.lines_with(&[
        "Failed to read objects",
        "kind=\"Service\" verb=\"watch\"",
        "invalid peer certificate",
    ]);
    assert_eq!(logged.len(), 1, "{logged:#?}");
    assert_eq!(following.server.requests(), known, "no other server receives the token");
    following.finish().await;
}
