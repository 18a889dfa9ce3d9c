//! What keeps a source from starting.

use std::io;
use std::path::PathBuf;

/// Why a source cannot start; afterwards a source logs, keeps its state and tries again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The folder of manifests is missing, is no folder or may not be read.
    #[error("cannot read the manifest folder {}", path.display())]
    ManifestFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
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
    /// The kubeconfig cannot be understood. What its parser says is left out, for it quotes lines of the file, and
    /// credentials may stand there.
    #[error("cannot understand the kubeconfig {}{}", path.display(), at(*place))]
    KubeconfigText {
        /// The file.
        path: PathBuf,
        /// Line and column where the parser gave up, from 1, if it knows them.
        place: Option<(u64, u64)>,
    },
    /// Neither a kubeconfig nor an API server was given, and this is no pod either.
    #[error("no kubeconfig and no master are given, and the in-cluster configuration is incomplete")]
    InCluster {
        /// The variable or file that is missing.
        source: Box<kube::config::InClusterError>,
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
        /// What the system said.
        source: io::Error,
    },
    /// The user of the kubeconfig cannot be shown to the API server.
    #[error("cannot use the user of the kubeconfig {}: {problem}", path.display())]
    User {
        /// The file.
        path: PathBuf,
        /// What is missing or not supported.
        problem: String,
    },
    /// The kubeconfig names a proxy that cannot be used. Its URL is left out, for it may hold a password.
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

fn at(place: Option<(u64, u64)>) -> String {
    place.map(|(line, column)| format!(", line {line}, column {column}")).unwrap_or_default()
}
