//! Why a source cannot start.

use std::error::Error;
use std::path::Path;

use kube::config::InClusterError;

use crate::api::failure::causes;

/// Why a source cannot start. After the start a source logs failures, keeps its state and tries again.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The variables in which a pod finds the API server.
const VARIABLES: [&str; 2] = ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"];

/// The folder in which a pod finds the certificates of the API server, and its own namespace.
const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

impl SourceError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// Adds the cause.
    pub(crate) fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The kubeconfig at `path` lacks something or holds a value that cannot be used.
    pub(crate) fn kubeconfig(path: &Path, source: kube::config::KubeconfigError) -> Self {
        Self::new(format!("cannot use the kubeconfig {}", path.display())).because(source)
    }

    /// There is neither a kubeconfig nor the URL of a server, and the configuration of a pod is incomplete. Names the
    /// environment variables that are not set, which `error` does not.
    pub(crate) fn in_cluster(error: &InClusterError, is_set: impl Fn(&str) -> bool) -> Self {
        let unset: Vec<_> = VARIABLES.into_iter().filter(|name| !is_set(name)).collect();
        let missing = match (error, &unset[..]) {
            (InClusterError::ReadEnvironmentVariable(_), [one]) => {
                format!("the environment variable {one} is not set")
            }
            (InClusterError::ReadEnvironmentVariable(_), [_, _]) => {
                format!("the environment variables {} are not set", VARIABLES.join(" and "))
            }
            (InClusterError::ReadCertificateBundle(error), _) => {
                format!("cannot read {FOLDER}/ca.crt: {error}")
            }
            (InClusterError::ReadDefaultNamespace(error), _) => {
                format!("cannot read {FOLDER}/namespace: {error}")
            }
            (error, _) => causes(error),
        };
        Self::new(format!(
            "in-cluster configuration is incomplete: {missing}; run as a pod, or set --kubeconfig, --master or --manifests"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::env::VarError;
    use std::io;

    use super::*;

    #[test]
    fn an_incomplete_pod_configuration_names_what_is_missing_and_what_to_do() {
        let unset = || InClusterError::ReadEnvironmentVariable(VarError::NotPresent);
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let message =
            |error, set: &[&str]| SourceError::in_cluster(&error, |name| set.contains(&name)).to_string();
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
