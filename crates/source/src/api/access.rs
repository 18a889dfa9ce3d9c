//! The connections to one server, and the credentials that they are made with.
//!
//! A renewed client certificate is presented on new connections. Connections with the previous one are closed, watches
//! included, because servers authenticate a connection by the certificate that it began with. A certificate that cannot
//! be used, because a file is missing or half written, or the key does not match yet, is read again later, and the
//! previous one is kept.

use std::future::pending;
use std::mem;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::PROXY_AUTHORIZATION;
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _, RustlsTlsError};
use kube::{Client, Config};
use portolan_core::LogLimiter;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Service, ServiceBuilder};
use tracing::{info, warn};

use super::credentials::{Credentials, TlsMaterial};
use super::dial::{tcp, through_proxy};
use super::failure::{Failure, causes};
use super::plugin::IssuedCredentials;
use super::proxy::{Protocol, Proxy};
use super::resolve::Addresses;
use crate::error::SourceError;

/// The most bytes read at once from a connection, and of an answer's head. By default each connection
/// keeps 500 KB after a long list for as long as it is watched.
const READ_BUFFER: usize = 64 << 10;

/// The connections to one server.
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
    material: TlsMaterial,
    client: Client,
    authorization: Option<HeaderValue>,
    issued: IssuedCredentials,
    /// Cancelled when connections with this client certificate are to be closed.
    renewed: CancellationToken,
    log: LogLimiter,
}

impl State {
    fn new(client: Client, material: TlsMaterial, authorization: Option<HeaderValue>) -> Self {
        let (issued, renewed, log) =
            (IssuedCredentials::default(), CancellationToken::new(), LogLimiter::default());
        Self { material, client, authorization, issued, renewed, log }
    }
}

/// The client and the credentials for a request.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) authorization: Option<HeaderValue>,
    /// Cancelled when the client certificate of this session has been renewed.
    pub(super) renewed: CancellationToken,
    /// Run of the plugin that the credentials are from.
    run: u64,
}

impl Access {
    /// Prepares to connect to the server of `config`. Runs no plugin.
    ///
    /// # Errors
    /// A file cannot be read, or its content cannot be used.
    pub(super) fn open(
        config: Config,
        server: String,
        proxy: Option<Proxy>,
        credentials: Credentials,
    ) -> Result<Self, SourceError> {
        let issued = IssuedCredentials::default();
        let (material, authorization) =
            (credentials.tls_material(&issued)?, credentials.authorization(&issued)?);
        let addresses = Addresses::of(proxy.as_ref().map_or(&config.cluster_url, |proxy| &proxy.address));
        let client = client(&config, proxy.as_ref(), &addresses, &material).map_err(|source| {
            SourceError::new(format!("cannot set up a client for the API server {server}")).because(source)
        })?;
        let state = Mutex::new(State::new(client, material, authorization));
        Ok(Self { config, server, proxy, credentials, addresses, state })
    }

    /// The connections of `client`, without credentials.
    #[cfg(test)]
    pub(super) fn over(client: Client, server: String) -> Self {
        let state = Mutex::new(State::new(client, TlsMaterial::default(), None));
        let (config, credentials) = (Config::new(http::Uri::default()), Credentials::default());
        let addresses = Addresses::of(&config.cluster_url);
        Self { config, server, proxy: None, credentials, addresses, state }
    }

    /// The client and the credentials for the next request.
    ///
    /// # Errors
    /// The plugin failed, and there are no credentials that have not expired.
    pub(super) async fn session(&self) -> Result<Session, Failure> {
        let mut state = self.state.lock().await;
        if let Some(plugin) = &self.credentials.plugin {
            plugin.refresh(&mut state.issued).await?;
        }
        match self.renew(&mut state) {
            Ok(()) => _ = state.log.succeed(Instant::now().into_std()),
            Err(reason) => {
                if state.log.fail(&reason, Instant::now().into_std()) {
                    let server = &self.server;
                    warn!(server, err = reason, "Cannot use renewed credentials; keeping the previous ones");
                }
            }
        }
        Ok(Session {
            client: state.client.clone(),
            authorization: state.authorization.clone(),
            renewed: state.renewed.clone(),
            run: state.issued.run,
        })
    }

    /// Notes that the server answered 401 to a request of this session.
    pub(super) async fn rejected(&self, session: &Session) {
        self.state.lock().await.issued.reject(session.run);
    }

    /// Checks for renewed credentials this often, so that watches present them too. Does not end.
    pub(super) async fn check_periodically(&self, period: Duration) {
        while self.credentials.may_change() {
            sleep(period).await;
            // The next request reports a failure.
            let _ = self.session().await;
        }
        pending::<()>().await;
    }

    /// Reads the present credentials and uses them.
    fn renew(&self, state: &mut State) -> Result<(), String> {
        let tls = self.renew_tls(state);
        let authorization = self.credentials.authorization(&state.issued);
        let authorization = authorization.map(|header| state.authorization = header);
        tls.and(authorization.map_err(|error| causes(&error)))
    }

    fn renew_tls(&self, state: &mut State) -> Result<(), String> {
        let server = &self.server;
        let new = self.credentials.tls_material(&state.issued).map_err(|error| causes(&error))?;
        if new == state.material {
            return Ok(());
        }
        state.client = client(&self.config, self.proxy.as_ref(), &self.addresses, &new)
            .map_err(|error| causes(&*error))?;
        let old = mem::replace(&mut state.material, new);
        let new = &state.material;
        if (&old.certificate, &old.key) == (&new.certificate, &new.key) {
            info!(server, "Using the renewed certificate authority of the server");
            return Ok(());
        }
        mem::take(&mut state.renewed).cancel();
        if old.certificate.is_some() {
            info!(
                server,
                "Presenting a renewed client certificate; closing connections with the previous one"
            );
        }
        Ok(())
    }
}

/// kube's client without its retries, which the reflector's would multiply, and with keep-alive and proxies, which kube
/// does not offer.
fn client(
    config: &Config,
    proxy: Option<&Proxy>,
    addresses: &Addresses,
    material: &TlsMaterial,
) -> Result<Client, BoxError> {
    let mut config = with_material(config, material)?;
    let Some(proxy) = proxy else { return client_over(&config, tcp(addresses)) };
    let mut to_proxy = config.clone();
    to_proxy.tls_server_name = None;
    let connector =
        to_proxy.rustls_https_connector_with_connector(tcp(addresses)).map_err(credential_error)?;
    if let Protocol::Http(Some(header)) = &proxy.protocol
        && config.cluster_url.scheme() == Some(&Scheme::HTTP)
    {
        config.headers.push((PROXY_AUTHORIZATION, header.clone()));
    }
    client_over(&config, through_proxy(proxy, connector))
}

fn client_over<C>(config: &Config, connector: C) -> Result<Client, BoxError>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static,
    C::Response: Read + Write + Connection + Send + Unpin + 'static,
{
    let connector = config.rustls_https_connector_with_connector(connector).map_err(credential_error)?;
    let http: HttpClient<_, Body> =
        HttpClient::builder(TokioExecutor::new()).http1_max_buf_size(READ_BUFFER).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.as_str()))
}

/// The configuration with certificates and keys in the form that kube expects.
fn with_material(config: &Config, material: &TlsMaterial) -> Result<Config, BoxError> {
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

/// An error about credentials, without a library's terms.
fn credential_error(error: kube::Error) -> BoxError {
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
