//! Servers that are reached through a proxy.

use portolan_testkit::forward_proxy::{ForwardProxy, ProxyProtocol};

use super::credentials::{Folder, follow, serving_tls};
use super::*;
use crate::tests::log::Log;

/// A name that leads nowhere but through a proxy.
const HOST: &str = "api.invalid:6443";

/// A kubeconfig for a server that only this proxy reaches.
fn place(folder: &Folder, server: &ApiServer, proxy: &str) -> super::super::ApiServer {
    let mut cluster = json!({"proxy-url": proxy, "server": format!("http://{HOST}")});
    if let Ok(authority) = server.authority_file() {
        cluster["server"] = format!("https://{HOST}").into();
        cluster["certificate-authority"] = authority.to_str().unwrap().into();
        cluster["tls-server-name"] = "127.0.0.1".into();
    }
    folder.kubeconfig(&cluster, &json!({"token": "t"}))
}

#[tokio::test]
async fn a_server_is_reached_through_the_proxy_of_the_kubeconfig() {
    use ProxyProtocol::{Http, Https, Socks5};
    let user = Some(("portolan", "pa@ss"));
    for (protocol, scheme, user, tls) in [
        (Http, "http", None, true),
        (Http, "http", user, true),
        (Http, "http", user, false),
        (Https, "https", user, true),
        (Socks5, "socks5", None, true),
        (Socks5, "socks5", user, true),
        (Socks5, "socks5h", user, false),
    ] {
        let (log, _guard) = Log::capture();
        let server = if tls { serving_tls().await } else { serving(small_cluster(2)).await };
        let (folder, proxy) = (Folder::new(), ForwardProxy::start(protocol, &server, user).await.unwrap());
        let login = if user.is_some() { "portolan:pa%40ss@" } else { "" };
        let place = place(&folder, &server, &format!("{scheme}://{login}{}", proxy.address()));
        let mut following = follow(server, place, TIMING).await;
        let before = proxy.asked().len();
        following.resume("10.96.7.7").await;
        let case = format!("{scheme}, user {user:?}, TLS {tls}");
        let asked = proxy.asked();
        let expected = match (protocol, tls) {
            (Socks5, _) => HOST.to_owned(),
            (_, true) => format!("CONNECT {HOST} HTTP/1.1\r\n"),
            (_, false) => format!("GET http://{HOST}/api"),
        };
        assert!(
            asked.len() > before && asked.iter().all(|head| head.starts_with(&expected)),
            "{case}: {asked:#?}"
        );
        let logged = format!(
            "Connecting to the API server through a proxy server=\"{}",
            if tls { "https" } else { "http" }
        );
        let logged = log.lines().into_iter().find(|line| line.contains(&logged)).expect(&case);
        assert!(logged.ends_with(&format!("proxy={scheme}://{}", proxy.address())), "{logged}");
        following.finish().await;
    }
}

#[tokio::test]
async fn a_failing_proxy_is_logged_without_its_password() {
    let (log, _guard) = Log::capture_up_to(tracing::Level::TRACE);
    for protocol in [ProxyProtocol::Http, ProxyProtocol::Socks5] {
        let server = serving_tls().await;
        let (folder, proxy) = (
            Folder::new(),
            ForwardProxy::start(protocol, &server, Some(("portolan", "right"))).await.unwrap(),
        );
        let scheme = if protocol == ProxyProtocol::Http { "http" } else { "socks5" };
        let place = place(&folder, &server, &format!("{scheme}://portolan:wrong-secret@{}", proxy.address()));
        let mut following = Following::start_with(server, place, TIMING, Arc::new(())).await;
        following.failed(4).await;
        let name = format!("proxy {scheme}://{}: ", proxy.address());
        let refused =
            if protocol == ProxyProtocol::Http { "proxy authorization required" } else { "SOCKS error" };
        assert!(
            log.lines().iter().any(|line| line.contains(&name) && line.contains(refused)),
            "{:#?}",
            log.lines()
        );
        drop(proxy);
        let away = |line: &String| line.contains(&name) && line.contains("Connection refused");
        while !log.lines().iter().any(away) {
            following.downstream.during(Duration::from_millis(10)).await;
        }
        following.finish().await;
    }
    assert!(!log.lines().iter().any(|line| line.contains("wrong-secret")), "{:#?}", log.lines());
}

#[tokio::test]
async fn an_invalid_proxy_url_is_an_error_without_its_password() {
    let (folder, server) = (Folder::new(), serving_tls().await);
    for url in ["ftp://u:secret@proxy", "http://u:sec ret@proxy", "://secret"] {
        let place = place(&folder, &server, url);
        let error = ApiSource::new(&place, NODE, TIMING, Arc::new(())).await.unwrap_err();
        assert!(error.to_string().starts_with("proxy-url of the kubeconfig "), "{error}");
        assert!(error.to_string().ends_with("is not an http, https or socks5 URL"), "{error}");
        assert!(!format!("{error:?}{error}").contains("sec"), "{error:?}");
    }
}
