//! Makes a client from a kubeconfig, a URL, or the configuration that Kubernetes mounts in a pod.

use std::env::consts::{ARCH, OS};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::USER_AGENT;
use http::uri::InvalidUri;
use http::{HeaderValue, Uri};
use kube::Config;
use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};
use portolan_core::GIT_VERSION;
use tracing::info;

use super::access::Access;
use super::client::ApiClient;
use super::credentials::Credentials;
use super::limiter::Limiter;
use super::observer::ClientObserver;
use super::proxy::Proxy;
use super::{ApiServer, Timing};
use crate::error::SourceError;

/// Prepares a client of `server`. Sends nothing.
///
/// # Errors
/// The configuration is missing, incomplete or unusable.
pub(super) fn connect(
    server: &ApiServer,
    timing: Timing,
    observer: Arc<dyn ClientObserver>,
) -> Result<ApiClient, SourceError> {
    // A credential plugin may take as long as an answer.
    let ServerConfig { mut config, credentials, proxy } = ServerConfig::of(server, timing.answer)?;
    let agent = HeaderValue::try_from(user_agent(&server.agent));
    config.headers.extend(agent.map(|agent| (USER_AGENT, agent)));
    let url = without_user(&config.cluster_url);
    // Libraries log the whole URL.
    config.cluster_url = url.parse().unwrap_or(config.cluster_url);
    let host = host(&config.cluster_url, server);
    let variable = |name: &str| std::env::var(name).ok();
    let proxy = proxy.or_else(|| Proxy::from_environment(&config.cluster_url, variable));
    if let Some(proxy) = &proxy {
        info!(server = url, %proxy, "Connecting to the API server through a proxy");
    }
    Ok(ApiClient {
        access: Arc::new(Access::open(config, url.clone(), proxy, credentials)?),
        server: url.into(),
        host: host.into(),
        timing,
        metrics: Arc::default(),
        limiter: Arc::new(Limiter::new(server.qps, server.burst)),
        observer,
    })
}

/// `User-Agent` of a program of this name, in the form that Kubernetes' clients have
/// and that audit logs and API priority rules of clusters match. Characters that a
/// header cannot have are left out of the name.
fn user_agent(name: &str) -> String {
    let name: String = name.chars().filter(|c| c.is_ascii_graphic() && !"()/".contains(*c)).collect();
    let name = if name.is_empty() { "portolan" } else { &name };
    format!("{name}/{GIT_VERSION} ({OS}/{}) portolan/{}", go_arch(ARCH), env!("CARGO_PKG_VERSION"))
}

/// Go's name of an architecture, as in other clients of Kubernetes.
fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        // The only byte order that Kubernetes is built for.
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The URL without user and password, for messages.
fn without_user(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("http");
    format!("{scheme}://{}{}", authority(url), url.path()).trim_end_matches('/').to_owned()
}

/// Host and port, without user and password.
fn authority(url: &Uri) -> &str {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    authority.rsplit_once('@').map_or(authority, |(_user, host)| host)
}

/// Host and port as in the URL. In a pod's own configuration kube leaves a default port
/// out, which Kubernetes' own clients do not.
fn host(url: &Uri, server: &ApiServer) -> String {
    let host = authority(url);
    let in_cluster = server.kubeconfig.is_none() && nonempty(server.master.as_deref()).is_none();
    if in_cluster && url.port().is_none() { format!("{host}:443") } else { host.to_owned() }
}

fn nonempty(master: Option<&str>) -> Option<&str> {
    master.filter(|master| !master.is_empty())
}

/// Where a server is, and the credentials for it.
struct ServerConfig {
    config: Config,
    credentials: Credentials,
    /// The proxy that a kubeconfig names; it has precedence over the environment's, exceptions included.
    proxy: Option<Proxy>,
}

impl ServerConfig {
    fn of(server: &ApiServer, time_limit: Duration) -> Result<Self, SourceError> {
        let master = nonempty(server.master.as_deref());
        if let Some(path) = &server.kubeconfig {
            return Self::from_kubeconfig(path, master, time_limit);
        }
        if let Some(master) = master {
            let address = with_scheme(master, "http");
            let url = address.parse().map_err(|source: InvalidUri| {
                let address = without_secrets(master);
                SourceError::new(format!("the API server address {address:?} is no URL")).because(source)
            })?;
            return Ok(Self { config: Config::new(url), credentials: Credentials::default(), proxy: None });
        }
        let mut config = Config::incluster()
            .map_err(|error| SourceError::in_cluster(&error, |name| std::env::var_os(name).is_some()))?;
        let authority = config.root_cert_file.take().unwrap_or_default();
        let token = config.auth_info.token_file.take().unwrap_or_default();
        Ok(Self { config, credentials: Credentials::of_pod(authority, token.into()), proxy: None })
    }

    fn from_kubeconfig(path: &Path, master: Option<&str>, time_limit: Duration) -> Result<Self, SourceError> {
        let failed = |source| kubeconfig_error(path, source);
        let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
        let master = master.map(|master| with_scheme(master, "https"));
        let (cluster, user) = current_context(kubeconfig, master).map_err(failed)?;
        let server = cluster.server.as_deref().ok_or(KubeconfigError::MissingClusterUrl).map_err(failed)?;
        let url = server.parse().map_err(|error| failed(KubeconfigError::ParseClusterUrl(error)))?;
        let proxy = cluster.proxy_url.as_deref().filter(|url| !url.is_empty());
        // The URL may hold a password.
        let bad_proxy = || {
            let path = path.display();
            SourceError::new(format!(
                "proxy-url of the kubeconfig {path} is not an http, https or socks5 URL"
            ))
        };
        let proxy = proxy.map(|url| Proxy::parse(url).ok_or_else(bad_proxy)).transpose()?;
        let credentials = Credentials::of(path, &cluster, &user, time_limit)?;
        let mut config = Config::new(url);
        config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or_default();
        config.tls_server_name = cluster.tls_server_name.filter(|name| !name.is_empty());
        config.auth_info = AuthInfo {
            impersonate: user.impersonate,
            impersonate_uid: user.impersonate_uid,
            impersonate_groups: user.impersonate_groups,
            impersonate_user_extra: user.impersonate_user_extra,
            ..AuthInfo::default()
        };
        Ok(Self { config, credentials, proxy })
    }
}

/// The cluster and the user of the current context; the cluster's server is `master`, if there is one.
fn current_context(
    kubeconfig: Kubeconfig,
    master: Option<String>,
) -> Result<(Cluster, AuthInfo), KubeconfigError> {
    let name = kubeconfig.current_context.ok_or(KubeconfigError::CurrentContextNotSet)?;
    let context = kubeconfig.contexts.into_iter().find(|named| named.name == name);
    let context = context.and_then(|named| named.context).ok_or(KubeconfigError::LoadContext(name))?;
    let cluster = kubeconfig.clusters.into_iter().find(|named| named.name == context.cluster);
    let mut cluster = cluster
        .and_then(|named| named.cluster)
        .ok_or(KubeconfigError::LoadClusterOfContext(context.cluster))?;
    cluster.server = master.or(cluster.server);
    // A user that is missing is one without credentials, as in Kubernetes' own clients.
    let user = kubeconfig.auth_infos.into_iter().find(|named| Some(&named.name) == context.user.as_ref());
    let mut user = user.and_then(|named| named.auth_info).unwrap_or_default();
    if let Some(exec) = user.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        exec.cluster = Some((&cluster).try_into()?);
    }
    Ok((cluster, user))
}

fn kubeconfig_error(path: &Path, error: KubeconfigError) -> SourceError {
    let KubeconfigError::Parse(error) = error else { return SourceError::kubeconfig(path, error) };
    // The parser's message quotes lines of the file, which may hold credentials.
    let position = error.location().map(|at| format!(", line {}, column {}", at.line(), at.column()));
    SourceError::new(format!(
        "cannot parse the kubeconfig {}{}",
        path.display(),
        position.unwrap_or_default()
    ))
}

/// A bare `host:port` means plain HTTP when nothing else is known, as in Kubernetes'
/// own clients; a kubeconfig has credentials, which go over TLS only.
fn with_scheme(address: &str, scheme: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("{scheme}://{address}") }
}

/// An address that may be no URL, without user and password.
fn without_secrets(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_user, host))) => format!("{scheme}://{host}"),
        (None, Some((_user, host))) => host.to_owned(),
        (_, None) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn the_user_agent_has_the_form_of_kube_proxys() {
        let agent = user_agent("kube-proxy");
        assert!(agent.starts_with("kube-proxy/v1.36.2+portolan."), "{agent}");
        assert!(agent.contains(" (linux/") && http::HeaderValue::from_str(&agent).is_ok(), "{agent}");
    }

    #[test]
    fn a_name_that_no_header_can_have_is_cleaned() {
        for (name, expected) in [("", "portolan/"), ("a b\n(c)/d", "abcd/"), ("ü", "portolan/")] {
            assert!(user_agent(name).starts_with(expected), "{name:?}: {}", user_agent(name));
        }
    }

    #[test]
    fn architectures_have_the_names_of_go() {
        assert_eq!(["x86_64", "aarch64", "riscv64"].map(go_arch), ["amd64", "arm64", "riscv64"]);
    }
}
