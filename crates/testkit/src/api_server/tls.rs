//! An API server with a certificate, which knows clients by theirs.

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use super::{ApiServer, lock};

/// A certificate by which a client can be known, and its key; both as PEM.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// Certificates, and the file that says who vouches for them.
#[derive(Debug)]
pub(super) struct Tls {
    acceptor: Mutex<Acceptor>,
    authority: NamedTempFile,
    /// Certificates given to clients, with the clients' names.
    clients: Mutex<Vec<(CertificateDer<'static>, String)>>,
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
        Ok(Self { acceptor: Mutex::new(acceptor), authority: file, clients: Mutex::default() })
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

    /// Whose certificate this is; empty for one that was not issued here.
    pub(super) fn client(&self, shown: Option<&[CertificateDer<'_>]>) -> String {
        let Some(shown) = shown.and_then(<[_]>::first) else { return String::new() };
        let clients = lock(&self.clients);
        clients.iter().find(|(known, _)| known == shown).map(|(_, name)| name.clone()).unwrap_or_default()
    }
}

impl ApiServer {
    /// Makes a certificate by which requests show in [`Request::client`](super::Request::client) as this
    /// client's.
    ///
    /// # Errors
    /// The server has no TLS, or there can be no certificate.
    pub fn issue_client_certificate(&self, client: &str) -> io::Result<ClientCertificate> {
        let tls = self.shared.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let key = KeyPair::generate().map_err(other)?;
        let issued = CertificateParams::default().self_signed(&key).map_err(other)?;
        lock(&tls.clients).push((issued.der().clone(), client.to_owned()));
        Ok(ClientCertificate { certificate: issued.pem(), key: key.serialize_pem() })
    }

    /// What speaks TLS in the server's name.
    pub(crate) fn tls_acceptor(&self) -> io::Result<TlsAcceptor> {
        Ok(self.shared.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?.acceptor())
    }

    /// The file with the certificate of the server's authority.
    ///
    /// # Errors
    /// The server has no TLS.
    pub fn authority_file(&self) -> io::Result<&std::path::Path> {
        Ok(self.shared.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?.authority.path())
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
    let provider = Arc::new(default_provider());
    let verifier = AnyClient { algorithms: provider.signature_verification_algorithms };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(other)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(other)?;
    Ok((Acceptor(TlsAcceptor::from(Arc::new(config))), authority.pem()))
}

/// Takes any certificate whose key the client has, or none, as a kube-apiserver does: who may do what is
/// decided request by request.
#[derive(Debug)]
struct AnyClient {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
