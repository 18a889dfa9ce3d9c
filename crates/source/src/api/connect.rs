//! Makes a client from a kubeconfig, a URL, or what Kubernetes gives a pod.

use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};
use tracing::warn;

use super::ApiServer;
use crate::error::SourceError;

/// Servers tell clients apart by the first part.
const AGENT: &str = concat!("portolan/", env!("CARGO_PKG_VERSION"));

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection without traffic is probed after this long, which is what finds out
/// that a server vanished without a word. With the two below: after 45 s.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// The client, and the URL of its server for messages.
///
/// # Errors
/// The configuration is missing, incomplete or unusable.
pub(super) async fn connect(server: &ApiServer) -> Result<(Client, String), SourceError> {
    let mut config = configuration(server).await?;
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    if let Some(proxy) = &config.proxy_url {
        warn!(%proxy, server = url, "HTTP proxies are not used; connecting to the API server itself");
    }
    let client = client(&config)
        .map_err(|source| SourceError::Client { server: url.clone(), source: Box::new(source) })?;
    Ok((client, url))
}

async fn configuration(server: &ApiServer) -> Result<Config, SourceError> {
    let master = server.master.as_deref().filter(|master| !master.is_empty());
    if let Some(path) = &server.kubeconfig {
        let failed = |source: KubeconfigError| SourceError::Kubeconfig {
            path: path.clone(),
            source: Box::new(source),
        };
        let mut kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
        if let Some(master) = master {
            let address = with_scheme(master, "https");
            for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
                cluster.server = Some(address.clone());
            }
        }
        return Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(failed);
    }
    if let Some(master) = master {
        let address = with_scheme(master, "http");
        let url =
            address.parse().map_err(|source| SourceError::Master { address: master.to_owned(), source })?;
        return Ok(Config::new(url));
    }
    Config::incluster().map_err(|source| SourceError::InCluster { source: Box::new(source) })
}

/// A bare `host:port` means plain HTTP when nothing else is known, as in Kubernetes'
/// own clients; a kubeconfig has credentials, which go over TLS only.
fn with_scheme(address: &str, scheme: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("{scheme}://{address}") }
}

/// kube's client without its retries, which ours would multiply, and with keep-alive,
/// which kube does not offer.
fn client(config: &Config) -> Result<Client, kube::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.as_str()))
}
