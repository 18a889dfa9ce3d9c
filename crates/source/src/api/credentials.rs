//! Where credentials come from: the kubeconfig itself, files that are replaced while we run, a plugin.
//!
//! Files are read before each request and every few seconds, so every way to replace them counts: a rename, a
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

use super::plugin::{Issued, Plugin};
use crate::error::SourceError;

/// What a kubeconfig holds itself or has in a file.
pub(super) enum Origin {
    Inline(Vec<u8>),
    File(PathBuf),
}

/// Where all credentials for one server come from. Never printed: some are in here.
#[derive(Default)]
pub(super) struct Credentials {
    /// Certificates that the server's own is checked with; the system's if there are none.
    pub(super) authority: Option<Origin>,
    pub(super) certificate: Option<Origin>,
    pub(super) key: Option<Origin>,
    pub(super) authorization: Authorization,
    pub(super) plugin: Option<Plugin>,
}

/// Where the header `Authorization` comes from.
#[derive(Default)]
pub(super) enum Authorization {
    #[default]
    None,
    /// Marked as sensitive, as all such headers, so that it prints nowhere.
    Fixed(HeaderValue),
    TokenFile(PathBuf),
}

/// What connections are made with, as PEM. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Material {
    pub(super) authority: Option<Vec<u8>>,
    pub(super) certificate: Option<Vec<u8>>,
    pub(super) key: Option<Vec<u8>>,
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub(super) struct Unreadable {
    path: PathBuf,
    source: io::Error,
}

impl From<Unreadable> for SourceError {
    fn from(Unreadable { path, source }: Unreadable) -> Self {
        Self::CredentialFile { path, source }
    }
}

impl Credentials {
    /// Credentials as the current context of a kubeconfig has them. `kubeconfig` is its path.
    ///
    /// # Errors
    /// Something is of no use, or no client of Kubernetes has it any more.
    pub(super) fn of(
        kubeconfig: &Path,
        cluster: &Cluster,
        user: &AuthInfo,
        patience: Duration,
    ) -> Result<Self, SourceError> {
        let unusable = |source| SourceError::Kubeconfig { path: kubeconfig.into(), source: Box::new(source) };
        let bad_user = |problem| SourceError::User { path: kubeconfig.into(), problem };
        if let Some(provider) = &user.auth_provider {
            let problem = format!("auth-provider {:?} is not supported; use exec", provider.name);
            return Err(bad_user(problem));
        }
        let key_data = user.client_key_data.as_ref().map(ExposeSecret::expose_secret);
        let authorization = Authorization::of(user)
            .map_err(|_secret| bad_user("the token cannot be sent in a header".to_owned()))?;
        let plugin = user.exec.as_ref().filter(|_| matches!(authorization, Authorization::None));
        Ok(Self {
            authority: Origin::of(
                cluster.certificate_authority_data.as_deref(),
                cluster.certificate_authority.as_deref(),
            )
            .map_err(|error| unusable(KubeconfigError::LoadCertificateAuthority(error)))?,
            certificate: Origin::of(
                user.client_certificate_data.as_deref(),
                user.client_certificate.as_deref(),
            )
            .map_err(|error| unusable(KubeconfigError::LoadClientCertificate(error)))?,
            key: Origin::of(key_data, user.client_key.as_deref())
                .map_err(|error| unusable(KubeconfigError::LoadClientKey(error)))?,
            authorization,
            plugin: plugin.map(|exec| Plugin::new(exec, patience)).transpose().map_err(bad_user)?,
        })
    }

    /// Credentials of a pod.
    pub(super) fn of_pod(authority: PathBuf, token: PathBuf) -> Self {
        Self {
            authority: Some(Origin::File(authority)),
            authorization: Authorization::TokenFile(token),
            ..Self::default()
        }
    }

    /// Whether any of them may change while we run.
    pub(super) fn may_change(&self) -> bool {
        let files = [&self.authority, &self.certificate, &self.key];
        self.plugin.is_some()
            || matches!(self.authorization, Authorization::TokenFile(_))
            || files.into_iter().flatten().any(|origin| matches!(origin, Origin::File(_)))
    }

    /// What connections are to be made with now. What the kubeconfig says comes before a plugin's.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn material(&self, issued: &Issued) -> Result<Material, Unreadable> {
        let read = |origin: &Option<Origin>| origin.as_ref().map(Origin::read).transpose();
        let mut material = Material {
            authority: read(&self.authority)?,
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        };
        if material.certificate.is_none()
            && let Some((certificate, key)) =
                issued.credential.as_ref().and_then(|credential| credential.certificate.clone())
        {
            (material.certificate, material.key) = (Some(certificate), Some(key));
        }
        Ok(material)
    }

    /// The header `Authorization` to send now.
    ///
    /// # Errors
    /// The file cannot be read, is empty, or holds what no token can be.
    pub(super) fn authorization(&self, issued: &Issued) -> Result<Option<HeaderValue>, Unreadable> {
        match &self.authorization {
            Authorization::None => {
                Ok(issued.credential.as_ref().and_then(|credential| credential.token.clone()))
            }
            Authorization::Fixed(header) => Ok(Some(header.clone())),
            Authorization::TokenFile(path) => read_token(path).map(Some),
        }
    }
}

impl Origin {
    fn of(data: Option<&str>, file: Option<&str>) -> Result<Option<Self>, LoadDataError> {
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            return Ok(Some(Self::Inline(BASE64.decode(data).map_err(LoadDataError::DecodeBase64)?)));
        }
        Ok(file.and_then(named).map(Self::File))
    }

    fn read(&self) -> Result<Vec<u8>, Unreadable> {
        match self {
            Self::Inline(data) => Ok(data.clone()),
            Self::File(path) => fs::read(path).map_err(|source| Unreadable { path: path.clone(), source }),
        }
    }
}

impl Authorization {
    /// As in Kubernetes' own clients, a token's file that can be read comes before a token in words.
    fn of(user: &AuthInfo) -> Result<Self, InvalidHeaderValue> {
        if let (Some(name), Some(password)) = (&user.username, &user.password) {
            let value = BASE64.encode(format!("{name}:{}", password.expose_secret()));
            return sensitive(&format!("Basic {value}")).map(Self::Fixed);
        }
        let token = user.token.as_ref().map(ExposeSecret::expose_secret).filter(|token| !token.is_empty());
        match (user.token_file.as_deref().and_then(named), token) {
            (None, None) => Ok(Self::None),
            (Some(path), None) => Ok(Self::TokenFile(path)),
            (None, Some(token)) => bearer(token).map(Self::Fixed),
            (Some(path), Some(token)) => match read_token(&path) {
                Ok(_) => Ok(Self::TokenFile(path)),
                Err(error) => {
                    warn!(err = %error, "Cannot use tokenFile; using the token of the kubeconfig");
                    bearer(token).map(Self::Fixed)
                }
            },
        }
    }
}

/// A path, if one is named. kube makes the kubeconfig's folder of an empty one.
fn named(path: &str) -> Option<PathBuf> {
    (!path.is_empty() && !path.ends_with('/')).then(|| path.into())
}

fn read_token(path: &Path) -> Result<HeaderValue, Unreadable> {
    let invalid = |what: &str| io::Error::new(ErrorKind::InvalidData, what);
    let token = fs::read_to_string(path).and_then(|text| {
        let token = text.trim();
        if token.is_empty() {
            return Err(invalid("the file is empty"));
        }
        bearer(token).map_err(|_secret| invalid("the file holds no token"))
    });
    token.map_err(|source| Unreadable { path: path.into(), source })
}

/// The header `Authorization` with this token.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    sensitive(&format!("Bearer {token}"))
}

fn sensitive(text: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut header = HeaderValue::try_from(text)?;
    header.set_sensitive(true);
    Ok(header)
}
