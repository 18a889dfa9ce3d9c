//! Where credentials come from: the kubeconfig itself, files that are replaced at run time, or a plugin.
//!
//! Files are read before each request and every few seconds, so every way to replace them is noticed: a rename, a
//! write, a swapped link, a mount. They are small, and requests are few.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use kube::config::{AuthInfo, Cluster, KubeconfigError, LoadDataError};
use secrecy::ExposeSecret;
use tracing::warn;

use super::failure::causes;
use super::plugin::{IssuedCredentials, Plugin};
use crate::error::SourceError;

/// A value that a kubeconfig holds itself or has in a file.
pub(super) enum DataOrFile {
    Inline(Vec<u8>),
    File(PathBuf),
}

/// Where all credentials for one server come from. Holds some, so it must not be printed.
#[derive(Default)]
pub(super) struct Credentials {
    /// Certificates of the authority for the server's own; the system's if there are none.
    pub(super) authority: Option<DataOrFile>,
    pub(super) certificate: Option<DataOrFile>,
    pub(super) key: Option<DataOrFile>,
    pub(super) authorization: Authorization,
    pub(super) plugin: Option<Plugin>,
}

/// Where the header `Authorization` comes from.
#[derive(Default)]
pub(super) enum Authorization {
    #[default]
    None,
    /// Marked as sensitive, as all such headers, so that it is not printed.
    Fixed(HeaderValue),
    TokenFile(PathBuf),
}

/// Certificates and key for connections, as PEM. Must not be printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct TlsMaterial {
    pub(super) authority: Option<Vec<u8>>,
    pub(super) certificate: Option<Vec<u8>>,
    pub(super) key: Option<Vec<u8>>,
}

impl Credentials {
    /// Credentials of the current context of a kubeconfig. `kubeconfig` is its path.
    ///
    /// # Errors
    /// A value cannot be used, or clients of Kubernetes no longer support it.
    pub(super) fn of(
        kubeconfig: &Path,
        cluster: &Cluster,
        user: &AuthInfo,
        time_limit: Duration,
    ) -> Result<Self, SourceError> {
        let unusable = |error| SourceError::kubeconfig(kubeconfig, error);
        let bad_user = |problem| {
            let path = kubeconfig.display();
            SourceError::new(format!("cannot use the user of the kubeconfig {path}: {problem}"))
        };
        if let Some(provider) = &user.auth_provider {
            let problem = format!("auth-provider {:?} is not supported; use exec", provider.name);
            return Err(bad_user(problem));
        }
        let key_data = user.client_key_data.as_ref().map(ExposeSecret::expose_secret);
        let authorization = Authorization::of(user)
            .map_err(|_secret| bad_user("the token cannot be sent in a header".to_owned()))?;
        let plugin = user.exec.as_ref().filter(|_| matches!(authorization, Authorization::None));
        Ok(Self {
            authority: DataOrFile::of(
                cluster.certificate_authority_data.as_deref(),
                cluster.certificate_authority.as_deref(),
            )
            .map_err(|error| unusable(KubeconfigError::LoadCertificateAuthority(error)))?,
            certificate: DataOrFile::of(
                user.client_certificate_data.as_deref(),
                user.client_certificate.as_deref(),
            )
            .map_err(|error| unusable(KubeconfigError::LoadClientCertificate(error)))?,
            key: DataOrFile::of(key_data, user.client_key.as_deref())
                .map_err(|error| unusable(KubeconfigError::LoadClientKey(error)))?,
            authorization,
            plugin: plugin.map(|exec| Plugin::new(exec, time_limit)).transpose().map_err(bad_user)?,
        })
    }

    /// Credentials of a pod.
    pub(super) fn of_pod(authority: PathBuf, token: PathBuf) -> Self {
        Self {
            authority: Some(DataOrFile::File(authority)),
            authorization: Authorization::TokenFile(token),
            ..Self::default()
        }
    }

    /// Whether any of them may change at run time.
    pub(super) fn may_change(&self) -> bool {
        let files = [&self.authority, &self.certificate, &self.key];
        self.plugin.is_some()
            || matches!(self.authorization, Authorization::TokenFile(_))
            || files.into_iter().flatten().any(|value| matches!(value, DataOrFile::File(_)))
    }

    /// Reads certificates and key for new connections. Those of the kubeconfig have precedence over a plugin's.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn tls_material(&self, issued: &IssuedCredentials) -> Result<TlsMaterial, SourceError> {
        let read = |value: &Option<DataOrFile>| value.as_ref().map(DataOrFile::read).transpose();
        let mut material = TlsMaterial {
            authority: read(&self.authority)?,
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        };
        let issued = issued.credential.as_ref().and_then(|credential| credential.certificate.clone());
        if let (None, Some((certificate, key))) = (&material.certificate, issued) {
            (material.certificate, material.key) = (Some(certificate), Some(key));
        }
        Ok(material)
    }

    /// Reads the header `Authorization` for the next request.
    ///
    /// # Errors
    /// The file cannot be read, is empty, or holds no valid token.
    pub(super) fn authorization(
        &self,
        issued: &IssuedCredentials,
    ) -> Result<Option<HeaderValue>, SourceError> {
        match &self.authorization {
            Authorization::None => {
                Ok(issued.credential.as_ref().and_then(|credential| credential.token.clone()))
            }
            Authorization::Fixed(header) => Ok(Some(header.clone())),
            Authorization::TokenFile(path) => read_token(path).map(Some),
        }
    }
}

impl DataOrFile {
    fn of(data: Option<&str>, file: Option<&str>) -> Result<Option<Self>, LoadDataError> {
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            return Ok(Some(Self::Inline(BASE64.decode(data).map_err(LoadDataError::DecodeBase64)?)));
        }
        Ok(file.and_then(nonempty_path).map(Self::File))
    }

    fn read(&self) -> Result<Vec<u8>, SourceError> {
        match self {
            Self::Inline(data) => Ok(data.clone()),
            Self::File(path) => fs::read(path).map_err(|source| unreadable(path, source)),
        }
    }
}

impl Authorization {
    /// As in Kubernetes' own clients, a token file that can be read has precedence over an inline token.
    fn of(user: &AuthInfo) -> Result<Self, InvalidHeaderValue> {
        if let (Some(name), Some(password)) = (&user.username, &user.password) {
            let value = BASE64.encode(format!("{name}:{}", password.expose_secret()));
            return sensitive(&format!("Basic {value}")).map(Self::Fixed);
        }
        let token = user.token.as_ref().map(ExposeSecret::expose_secret).filter(|token| !token.is_empty());
        match (user.token_file.as_deref().and_then(nonempty_path), token) {
            (None, None) => Ok(Self::None),
            (Some(path), None) => Ok(Self::TokenFile(path)),
            (None, Some(token)) => bearer(token).map(Self::Fixed),
            (Some(path), Some(token)) => match read_token(&path) {
                Ok(_) => Ok(Self::TokenFile(path)),
                Err(error) => {
                    warn!(err = causes(&error), "Cannot use tokenFile; using the token of the kubeconfig");
                    bearer(token).map(Self::Fixed)
                }
            },
        }
    }
}

/// A path, unless it is empty. kube turns an empty one into the kubeconfig's folder.
fn nonempty_path(path: &str) -> Option<PathBuf> {
    (!path.is_empty() && !path.ends_with('/')).then(|| path.into())
}

fn read_token(path: &Path) -> Result<HeaderValue, SourceError> {
    let invalid = |what: &str| io::Error::new(ErrorKind::InvalidData, what);
    let token = fs::read_to_string(path).and_then(|text| {
        let token = text.trim();
        if token.is_empty() {
            return Err(invalid("the file is empty"));
        }
        bearer(token).map_err(|_secret| invalid("the file holds no token"))
    });
    token.map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: io::Error) -> SourceError {
    SourceError::new(format!("cannot read {}", path.display())).because(source)
}

/// The header `Authorization` for this token.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    sensitive(&format!("Bearer {token}"))
}

fn sensitive(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut header = HeaderValue::try_from(text)?;
    header.set_sensitive(true);
    Ok(header)
}
