//! Makes a client from a kubeconfig, a URL, or what Kubernetes gives a pod.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};
use tracing::warn;

use super::ApiServer;
use super::addresses::Addresses;
use super::agent::user_agent;
use super::limiter::Limiter;
use super::token::TokenFile;
use crate::error::SourceError;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection without traffic is probed after this long, which is what finds out
/// that a server vanished without a word. With the two below: after 45 s.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// The most bytes read at once from a connection, and of an answer's head. Left to itself each connection
/// keeps 500 KB after a long list, and that for as long as it is watched.
const READ_BUFFER: usize = 64 << 10;

/// A server that can be asked.
pub(super) struct Server {
    pub(super) client: Client,
    /// For messages.
    pub(super) url: String,
    /// Host and port, for metrics.
    pub(super) host: String,
    pub(super) limiter: Limiter,
    /// A token to show, besides what the client shows by itself.
    pub(super) token: Option<TokenFile>,
    /// Where connections to it lead.
    pub(super) addresses: Addresses,
}

/// Prepares to ask `server`.
///
/// # Errors
/// The configuration is missing, incomplete or unusable.
pub(super) async fn connect(server: &ApiServer) -> Result<Server, SourceError> {
    let mut config = configuration(server).await?;
    let agent = HeaderValue::try_from(user_agent(&server.agent));
    config.headers.extend(agent.map(|agent| (USER_AGENT, agent)));
    let url = without_user(&config.cluster_url);
    let host = host(&config.cluster_url, server);
    if let Some(proxy) = &config.proxy_url {
        warn!(%proxy, server = url, "HTTP proxies are not used; connecting to the API server itself");
    }
    let token = token_file(&mut config.auth_info)?;
    let addresses = Addresses::of(&config.cluster_url);
    let client = client(&config, addresses.clone())
        .map_err(|source| SourceError::Client { server: url.clone(), source: Box::new(source) })?;
    Ok(Server { client, url, host, limiter: Limiter::new(server.qps, server.burst), token, addresses })
}

/// The URL, for messages: a name and password in it are nobody's business.
fn without_user(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("http");
    format!("{scheme}://{}{}", authority(url), url.path()).trim_end_matches('/').to_owned()
}

/// Host and port, without a user in front.
fn authority(url: &Uri) -> &str {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    authority.rsplit_once('@').map_or(authority, |(_user, host)| host)
}

/// Host and port as the URL has them. Of a pod's own configuration kube leaves a usual port
/// out, which Kubernetes' own clients do not.
fn host(url: &Uri, server: &ApiServer) -> String {
    let host = authority(url);
    let in_cluster = server.kubeconfig.is_none() && given(server.master.as_deref()).is_none();
    if in_cluster && url.port().is_none() { format!("{host}:443") } else { host.to_owned() }
}

fn given(master: Option<&str>) -> Option<&str> {
    master.filter(|master| !master.is_empty())
}

/// Takes a token that is in a file out of `auth`, where it counts.
///
/// # Errors
/// The file holds no token, and there is no other one.
fn token_file(auth: &mut AuthInfo) -> Result<Option<TokenFile>, SourceError> {
    let other = auth.auth_provider.is_some() || auth.username.is_some() && auth.password.is_some();
    let Some(path) = auth.token_file.as_ref().filter(|path| !path.is_empty() && !other) else {
        return Ok(None);
    };
    match TokenFile::open(Path::new(path)) {
        Ok(token) => {
            // As in Kubernetes' own clients, a file that can be read comes before a token in words.
            (auth.token_file, auth.token) = (None, None);
            Ok(Some(token))
        }
        Err(error) if auth.token.is_some() => {
            warn!(file = path, %error, "cannot read the token's file; using the token of the kubeconfig");
            Ok(None)
        }
        Err(source) => Err(SourceError::Token { path: path.into(), source }),
    }
}

async fn configuration(server: &ApiServer) -> Result<Config, SourceError> {
    let master = given(server.master.as_deref());
    if let Some(path) = &server.kubeconfig {
        let failed = |source| unusable(path, source);
        let mut kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
        if let Some(master) = master {
            let address = with_scheme(master, "https");
            for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
                cluster.server = Some(address.clone());
            }
        }
        let authority = authority_file(&kubeconfig);
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(failed)?;
        // kube would read it just once, though those who renew it count on its being followed.
        config.root_cert_file = authority;
        return Ok(config);
    }
    if let Some(master) = master {
        let address = with_scheme(master, "http");
        let url =
            address.parse().map_err(|source| SourceError::Master { address: master.to_owned(), source })?;
        return Ok(Config::new(url));
    }
    Config::incluster().map_err(|source| SourceError::InCluster { source: Box::new(source) })
}

fn unusable(path: &Path, source: KubeconfigError) -> SourceError {
    let path = path.to_owned();
    match source {
        KubeconfigError::Parse(error) => {
            let place = error.location().map(|place| (place.line(), place.column()));
            SourceError::KubeconfigText { path, place }
        }
        source => SourceError::Kubeconfig { path, source: Box::new(source) },
    }
}

/// The file with the certificates that the server's own is checked with, if a file it is.
fn authority_file(kubeconfig: &Kubeconfig) -> Option<PathBuf> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == *current)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?.cluster.as_ref()?;
    // What stands in the kubeconfig itself comes before a file.
    let file =
        cluster.certificate_authority.as_ref().filter(|_| cluster.certificate_authority_data.is_none());
    file.map(PathBuf::from)
}

/// A bare `host:port` means plain HTTP when nothing else is known, as in Kubernetes'
/// own clients; a kubeconfig has credentials, which go over TLS only.
fn with_scheme(address: &str, scheme: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("{scheme}://{address}") }
}

/// kube's client without its retries, which ours would multiply, and with keep-alive,
/// which kube does not offer.
fn client(config: &Config, addresses: Addresses) -> Result<Client, kube::Error> {
    let noted = move |resolved: GaiAddrs| {
        let resolved: Vec<_> = resolved.collect();
        addresses.note(resolved.iter().map(SocketAddr::ip));
        resolved.into_iter()
    };
    let resolver = ServiceBuilder::new().map_response(noted).service(GaiResolver::new());
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let http: HttpClient<_, Body> =
        HttpClient::builder(TokioExecutor::new()).http1_max_buf_size(READ_BUFFER).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_the_server_in_a_file_are_followed() {
        let of = |cluster: &str| {
            let text = format!(
                "kind: Config\ncurrent-context: a\ncontexts: [{{name: x, context: {{cluster: z}}}}, {{name: a, context: {{cluster: b}}}}]\n\
                 clusters: [{{name: z, cluster: {{server: 'https://z', certificate-authority: /z}}}}, {{name: b, cluster: {{server: 'https://b'{cluster}}}}}]\n"
            );
            authority_file(&Kubeconfig::from_yaml(&text).unwrap())
        };
        assert_eq!(of(", certificate-authority: /b/ca.crt"), Some("/b/ca.crt".into()));
        assert_eq!(of(", certificate-authority: /b/ca.crt, certificate-authority-data: QQ=="), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn messages_name_the_server_without_its_user() {
        for (url, expected) in [
            ("https://api.example", "https://api.example"),
            ("https://api.example:6443/prefix/", "https://api.example:6443/prefix"),
            ("http://user:se@cret@[fd00::1]:80/", "http://[fd00::1]:80"),
        ] {
            assert_eq!(url.parse().map(|url| without_user(&url)).unwrap_or_default(), expected);
        }
    }

    #[test]
    fn the_host_is_the_one_in_the_url_and_in_a_pod_it_has_a_port() {
        let kubeconfig = ApiServer { kubeconfig: Some("k".into()), ..ApiServer::default() };
        let master = ApiServer { master: Some("m".into()), ..ApiServer::default() };
        let pod = ApiServer { master: Some(String::new()), ..ApiServer::default() };
        for (url, place, expected) in [
            ("https://10.0.0.1:6443/prefix", &kubeconfig, "10.0.0.1:6443"),
            ("https://api.example", &master, "api.example"),
            ("https://10.96.0.1", &pod, "10.96.0.1:443"),
            ("https://[fd00::1]", &pod, "[fd00::1]:443"),
            ("https://[fd00::1]:6443", &pod, "[fd00::1]:6443"),
            ("https://user:secret@api.example:6443", &master, "api.example:6443"),
        ] {
            assert_eq!(host(&url.parse().unwrap(), place), expected);
        }
    }
}
