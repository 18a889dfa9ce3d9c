//! An API server that shows who it is.

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::lock;

/// Certificates, and the file that says who vouches for them.
#[derive(Debug)]
pub(super) struct Tls {
    acceptor: Mutex<Acceptor>,
    authority: NamedTempFile,
}

/// As `TlsAcceptor`, which cannot be printed.
#[derive(Clone)]
struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Tls {
    pub(super) fn new() -> io::Result<Self> {
        let (acceptor, authority) = certificates()?;
        let mut file = tempfile::Builder::new().prefix("ca-").suffix(".crt").tempfile()?;
        file.write_all(authority.as_bytes())?;
        Ok(Self { acceptor: Mutex::new(acceptor), authority: file })
    }

    /// What the next connection is taken in with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        lock(&self.acceptor).0.clone()
    }

    /// The part of a kubeconfig that names the authority.
    pub(super) fn kubeconfig(&self) -> String {
        format!(", certificate-authority: \"{}\"", self.authority.path().display())
    }

    /// Changes to certificates of another authority, which the file names from now on.
    pub(super) fn renew(&self) -> io::Result<()> {
        let (acceptor, authority) = certificates()?;
        std::fs::write(self.authority.path(), authority)?;
        *lock(&self.acceptor) = acceptor;
        Ok(())
    }
}

/// What a server of 127.0.0.1 shows, and the certificate of its authority as text.
fn certificates() -> io::Result<(Acceptor, String)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(other)?).map_err(other)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
    let key = KeyPair::generate().map_err(other)?;
    let certificate = params.signed_by(&key, &authority).map_err(other)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(other)?;
    Ok((Acceptor(TlsAcceptor::from(Arc::new(config))), authority.pem()))
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
