//! Why a source cannot start.

use std::env;
use std::io;
use std::path::PathBuf;

use kube::config::InClusterError;

/// Why a source cannot start. After the start a source logs failures, keeps its state and tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The folder of manifests is missing, is no folder or may not be read.
    #[error("cannot read the manifest folder {}", path.display())]
    ManifestFolder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The kubeconfig cannot be read or lacks something.
    #[error("cannot use the kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        source: Box<kube::config::KubeconfigError>,
    },
    /// The kubeconfig cannot be parsed. The parser's message is left out, because it quotes lines of the file, which may
    /// hold credentials.
    #[error("cannot parse the kubeconfig {}{}", path.display(), at(*place))]
    KubeconfigText {
        /// The file.
        path: PathBuf,
        /// Line and column where the parser stopped, from 1, if it knows them.
        place: Option<(u64, u64)>,
    },
    /// Neither a kubeconfig nor an API server is configured, and this is no pod either.
    #[error(
        "in-cluster configuration is incomplete: {missing}; run as a pod, or set --kubeconfig, --master or --manifests"
    )]
    InCluster {
        /// The variables or the file that are missing or wrong.
        missing: String,
    },
    /// The address given for the API server is no URL.
    #[error("the API server address {address:?} is no URL")]
    Master {
        /// The address as given, without user and password.
        address: String,
        /// What is wrong with it.
        source: http::uri::InvalidUri,
    },
    /// A certificate, key or token is in a file that is missing, holds none or may not be read.
    #[error("cannot read {}", path.display())]
    CredentialFile {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The user of the kubeconfig cannot be authenticated to the API server.
    #[error("cannot use the user of the kubeconfig {}: {problem}", path.display())]
    User {
        /// The file.
        path: PathBuf,
        /// What is missing or not supported.
        problem: String,
    },
    /// The proxy of the kubeconfig cannot be used. Its URL is left out, because it may hold a password.
    #[error("proxy-url of the kubeconfig {} is not an http, https or socks5 URL", path.display())]
    Proxy {
        /// The file.
        path: PathBuf,
    },
    /// The credentials or certificates cannot be used.
    #[error("cannot set up a client for the API server {server}")]
    Client {
        /// URL of the server.
        server: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SourceError {
    /// Names what a pod's configuration lacks. The error itself does not name the variables.
    pub(crate) fn in_cluster(error: &InClusterError) -> Self {
        Self::InCluster { missing: missing_in_cluster(error, |name| env::var_os(name).is_some()) }
    }
}

/// The variables in which a pod finds the API server.
const VARIABLES: [&str; 2] = ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"];

/// The folder in which a pod finds the certificates of the API server, and its own namespace.
const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn missing_in_cluster(error: &InClusterError, is_set: impl Fn(&str) -> bool) -> String {
    let variables = VARIABLES.join(" and ");
    match error {
        InClusterError::ReadEnvironmentVariable(error) => {
            let unset: Vec<_> = VARIABLES.into_iter().filter(|name| !is_set(name)).collect();
            match unset[..] {
                [] => format!("{variables}: {error}"),
                [one] => format!("the environment variable {one} is not set"),
                _ => format!("the environment variables {variables} are not set"),
            }
        }
        InClusterError::ParseClusterPort(error) => format!("{} is no port: {error}", VARIABLES[1]),
        InClusterError::ParseClusterUrl(error) => format!("{variables} make no URL: {error}"),
        InClusterError::ReadCertificateBundle(error) => format!("cannot read {FOLDER}/ca.crt: {error}"),
        InClusterError::ParseCertificates(error) => {
            format!("cannot read the certificates in {FOLDER}/ca.crt: {error}")
        }
        InClusterError::ReadDefaultNamespace(error) => format!("cannot read {FOLDER}/namespace: {error}"),
    }
}

fn at(place: Option<(u64, u64)>) -> String {
    place.map(|(line, column)| format!(", line {line}, column {column}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_pod_configuration_names_what_is_missing_and_what_to_do() {
        let unset = || InClusterError::ReadEnvironmentVariable(env::VarError::NotPresent);
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let message = |error, set: &[&str]| {
            let missing = missing_in_cluster(&error, |name| set.contains(&name));
            SourceError::InCluster { missing }.to_string()
        };
        for (error, set, expected) in [
            (
                unset(),
                &[][..],
                "the environment variables KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set",
            ),
            (unset(), &VARIABLES[..1], "the environment variable KUBERNETES_SERVICE_PORT is not set"),
            (unset(), &VARIABLES[1..], "the environment variable KUBERNETES_SERVICE_HOST is not set"),
            (
                InClusterError::ReadCertificateBundle(gone()),
                &VARIABLES,
                "cannot read /var/run/secrets/kubernetes.io/serviceaccount/ca.crt: entity not found",
            ),
        ] {
            let advice = "run as a pod, or set --kubeconfig, --master or --manifests";
            assert_eq!(
                message(error, set),
                format!("in-cluster configuration is incomplete: {expected}; {advice}")
            );
        }
    }
}
