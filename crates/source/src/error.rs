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
        /// The address as given.
        address: String,
        /// What is wrong with it.
        source: http::uri::InvalidUri,
    },
    /// The file that should hold our token for the API server is missing, is empty or may not be read.
    #[error("cannot read the token in {}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The credentials or certificates cannot be used.
    #[error("cannot set up a client for the API server {server}")]
    Client {
        /// URL of the server.
        server: String,
        /// What is wrong.
        source: Box<kube::Error>,
    },
}

fn at(place: Option<(u64, u64)>) -> String {
    place.map(|(line, column)| format!(", line {line}, column {column}")).unwrap_or_default()
}
