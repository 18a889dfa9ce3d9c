//! Where Services and endpoints come from.

use std::future::pending;
use std::sync::Arc;

use portolan_config::Source;
use portolan_core::Event;
use portolan_core::name::Name;
use portolan_source::{ApiServer, ApiSource, ManifestSource, SourceError, SourceMetrics, Timing};
use tokio::sync::mpsc;

/// A source that is ready to run.
pub(crate) enum AnySource {
    /// A folder of manifests.
    Manifests(ManifestSource),
    /// An API server.
    Api(Box<ApiSource>),
}

impl AnySource {
    /// Makes the source that the configuration names.
    ///
    /// # Errors
    /// The API server or our credentials for it cannot be made out.
    pub(crate) async fn new(source: &Source, node_name: &Name) -> Result<Self, SourceError> {
        match source {
            Source::Manifests(folder) => {
                Ok(Self::Manifests(ManifestSource::new(folder, Name::clone(node_name))))
            }
            Source::Api(access) => {
                let server = ApiServer {
                    kubeconfig: access.kubeconfig.clone(),
                    master: access.master.clone(),
                    ..ApiServer::default()
                };
                let source = ApiSource::new(&server, &**node_name, Timing::default(), Arc::new(())).await?;
                Ok(Self::Api(Box::new(source)))
            }
        }
    }

    /// What it counts.
    pub(crate) fn metrics(&self) -> Arc<SourceMetrics> {
        match self {
            Self::Manifests(source) => source.metrics(),
            Self::Api(source) => source.metrics(),
        }
    }

    /// Sends events until it fails or nobody takes them. It is not asked to stop: the
    /// end of the process is the end of what it holds.
    ///
    /// # Errors
    /// It cannot start.
    pub(crate) async fn run(self, events: mpsc::Sender<Event>) -> Result<(), SourceError> {
        match self {
            Self::Manifests(source) => source.run(events, pending()).await,
            Self::Api(source) => {
                source.run(events, pending()).await;
                Ok(())
            }
        }
    }
}
