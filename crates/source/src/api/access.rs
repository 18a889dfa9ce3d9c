//! The connections to one server, and the identity that they were made with.
//!
//! An identity that was renewed is presented on new connections; those of the old one are closed, watches
//! included, for servers go on to judge a connection by the certificate that it began with. One that cannot be
//! used, because a file is missing or half written, or the key is not yet the certificate's, is looked at
//! again and leaves the old one in place.

use std::fmt;
use std::future::pending;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use http::header::PROXY_AUTHORIZATION;
use http::uri::Scheme;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _, RustlsTlsError};
use kube::{Client, Config};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;
use tower::{BoxError, ServiceBuilder};
use tracing::{info, warn};

use super::addresses::Addresses;
use super::credentials::{Credentials, Material};
use super::dial::{Dialer, tcp};
use super::failure::{Failure, causes};
use super::plugin::Issued;
use super::proxy::{Protocol, Proxy};
use super::telling::Telling;
use crate::error::SourceError;

/// The most bytes read at once from a connection, and of an answer's head. Left to itself each connection
/// keeps 500 KB after a long list, and that for as long as it is watched.
const READ_BUFFER: usize = 64 << 10;

/// The way to one server, with what it is shown.
pub(super) struct Access {
    /// The server, without credentials.
    config: Config,
    /// Its URL, for messages.
    server: String,
    proxy: Option<Proxy>,
    credentials: Credentials,
    /// Those of the server, or of the proxy that is in front of it.
    pub(super) addresses: Addresses,
    state: Mutex<State>,
}

struct State {
    material: Material,
    client: Client,
    authorization: Option<HeaderValue>,
    issued: Issued,
    /// Dropped when connections of this identity are to be closed.
    identity: watch::Sender<()>,
    telling: Telling,
}

/// What to send requests with.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) identity: Identity,
    /// Run of the plugin that the credentials are from.
    run: u64,
}

/// The identity of a connection, for as long as it is the newest.
#[derive(Debug)]
pub(super) struct Identity(watch::Receiver<()>);

impl Identity {
    /// Waits until a renewed identity has taken its place.
    pub(super) async fn renewed(&mut self) {
        // Nothing is ever sent.
        while self.0.changed().await.is_ok() {}
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Access {
    /// Prepares to connect to the server of `config`. Runs no plugin.
    ///
    /// # Errors
    /// A file cannot be read, or what is in it is of no use.
    pub(super) fn open(
        config: Config,
        server: String,
        proxy: Option<Proxy>,
        credentials: Credentials,
    ) -> Result<Self, SourceError> {
        let issued = Issued::default();
        let (material, authorization) = (credentials.material(&issued)?, credentials.authorization(&issued)?);
        let addresses = Addresses::of(proxy.as_ref().map_or(&config.cluster_url, |proxy| &proxy.address));
        let client = client(&config, proxy.as_ref(), &addresses, &material)
            .map_err(|source| SourceError::Client { server: server.clone(), source })?;
        let (identity, telling) = (watch::Sender::new(()), Telling::default());
        let state = State { material, client, authorization, issued, identity, telling };
        Ok(Self { config, server, proxy, credentials, addresses, state: Mutex::new(state) })
    }

    /// The way that `client` goes, without credentials.
    #[cfg(test)]
    pub(super) fn over(client: Client, server: String) -> Self {
        let (material, issued) = (Material::default(), Issued::default());
        let (identity, telling) = (watch::Sender::new(()), Telling::default());
        let state = State { material, client, authorization: None, issued, identity, telling };
        let (config, credentials) = (Config::new(http::Uri::default()), Credentials::default());
        let addresses = Addresses::of(&config.cluster_url);
        Self { config, server, proxy: None, credentials, addresses, state: Mutex::new(state) }
    }

    /// What to send the next request with.
    ///
    /// # Errors
    /// The plugin failed, and there is nothing to show that has not expired.
    pub(super) async fn session(&self) -> Result<Session, Failure> {
        let mut state = self.state.lock().await;
        if let Some(plugin) = &self.credentials.plugin {
            plugin.refresh(&mut state.issued).await?;
        }
        match self.renew(&mut state) {
            Ok(()) => drop(state.telling.succeed()),
            Err(reason) => {
                if state.telling.fail(&reason) {
                    let server = &self.server;
                    warn!(server, err = reason, "Cannot use renewed credentials; keeping the previous ones");
                }
            }
        }
        Ok(Session {
            client: state.client.clone(),
            authorization: state.authorization.clone(),
            identity: Identity(state.identity.subscribe()),
            run: state.issued.run,
        })
    }

    /// Takes in that the server answered 401 to a request of this session.
    pub(super) async fn refused(&self, session: &Session) {
        self.state.lock().await.issued.refuse(session.run);
    }

    /// Looks for renewed credentials this often, so that watches learn of them too. For ever, if there are
    /// any that may change.
    pub(super) async fn follow(&self, period: Duration) {
        while self.credentials.may_change() {
            sleep(period).await;
            // A failure is reported by the next request.
            let _ = self.session().await;
        }
        pending::<()>().await;
    }

    /// Reads what there is now, and changes to it.
    fn renew(&self, state: &mut State) -> Result<(), String> {
        let tls = self.renew_tls(state);
        let authorization = self.credentials.authorization(&state.issued);
        let authorization = authorization.map(|header| state.authorization = header);
        tls.and(authorization.map_err(|error| error.to_string()))
    }

    fn renew_tls(&self, state: &mut State) -> Result<(), String> {
        let server = &self.server;
        let new = self.credentials.material(&state.issued).map_err(|error| error.to_string())?;
        if new == state.material {
            return Ok(());
        }
        state.client = client(&self.config, self.proxy.as_ref(), &self.addresses, &new)
            .map_err(|error| causes(&*error))?;
        let old = std::mem::replace(&mut state.material, new);
        let new = &state.material;
        if (&old.certificate, &old.key) == (&new.certificate, &new.key) {
            info!(server, "Using renewed certificates of the server's authority");
            return Ok(());
        }
        state.identity = watch::Sender::new(());
        if old.certificate.is_some() {
            info!(
                server,
                "Presenting a renewed client certificate; closing connections with the previous one"
            );
        }
        Ok(())
    }
}

/// kube's client without its retries, which ours would multiply, and with keep-alive and proxies, which kube
/// does not offer.
fn client(
    config: &Config,
    proxy: Option<&Proxy>,
    addresses: &Addresses,
    material: &Material,
) -> Result<Client, BoxError> {
    let mut config = with(config, material)?;
    let mut dialer = Dialer::Direct(tcp(addresses));
    if let Some(proxy) = proxy {
        let mut to_proxy = config.clone();
        to_proxy.tls_server_name = None;
        let connector = to_proxy.rustls_https_connector_with_connector(tcp(addresses)).map_err(in_words)?;
        dialer = Dialer::Proxied { connector, proxy: proxy.clone() };
        if let Protocol::Http(Some(header)) = &proxy.protocol
            && config.cluster_url.scheme() == Some(&Scheme::HTTP)
        {
            config.headers.push((PROXY_AUTHORIZATION, header.clone()));
        }
    }
    let connector = config.rustls_https_connector_with_connector(dialer).map_err(in_words)?;
    let http: HttpClient<_, Body> =
        HttpClient::builder(TokioExecutor::new()).http1_max_buf_size(READ_BUFFER).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.as_str()))
}

/// The configuration with certificates and keys as kube takes them.
fn with(config: &Config, material: &Material) -> Result<Config, BoxError> {
    let mut config = config.clone();
    if let Some(pem) = &material.authority {
        let certificates = CertificateDer::pem_slice_iter(pem).map(|found| found.map(|der| der.to_vec()));
        let certificates: Vec<_> = certificates
            .collect::<Result<_, _>>()
            .map_err(|_not_whole| "the certificate authority is not whole PEM")?;
        if certificates.is_empty() {
            return Err("the certificate authority holds no certificate".into());
        }
        config.root_cert = Some(certificates);
    }
    if let Some((certificate, key)) = match (&material.certificate, &material.key) {
        (None, None) => None,
        (Some(_), None) => return Err("there is a client certificate without a key".into()),
        (None, Some(_)) => return Err("there is a client key without a certificate".into()),
        // kube puts both together; a file that holds both, as the kubelet's, would give its certificate twice.
        (Some(certificate), Some(key)) if certificate == key => Some((&[][..], key)),
        (Some(certificate), Some(key)) => Some((&certificate[..], key)),
    } {
        config.auth_info.client_certificate_data = Some(BASE64.encode(certificate));
        config.auth_info.client_key_data = Some(BASE64.encode(key).into());
    }
    Ok(config)
}

/// An error about credentials, without the names that libraries have for it.
fn in_words(error: kube::Error) -> BoxError {
    match error {
        kube::Error::RustlsTls(RustlsTlsError::InvalidIdentityPem(_)) => {
            "the client certificate or its key is not whole PEM".into()
        }
        kube::Error::RustlsTls(RustlsTlsError::MissingPrivateKey) => "there is no client key".into(),
        kube::Error::RustlsTls(RustlsTlsError::MissingCertificate) => "there is no client certificate".into(),
        kube::Error::RustlsTls(RustlsTlsError::InvalidPrivateKey(_)) => {
            "the client key does not belong to the client certificate, or is of an unknown kind".into()
        }
        error => error.into(),
    }
}
