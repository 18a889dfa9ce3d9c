//! Where Services and endpoints come from.

use std::ffi::OsStr;
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portolan_config::Source;
use portolan_core::Event;
use portolan_core::name::Name;
use portolan_health::Health;
use portolan_metrics::ClientMetrics;
use portolan_source::{
    Answered, ApiServer, ApiSource, ClientObserver, EventRecorder, ManifestSource, SourceError,
    SourceMetrics, Timing,
};
use tokio::sync::mpsc;

/// Reasons that `/healthz` gives in full.
const MAX_REASONS: usize = 3;

/// Measures requests to the API server.
#[derive(Debug)]
pub(crate) struct Requests(pub(crate) ClientMetrics);

impl ClientObserver for Requests {
    fn answered(&self, answered: &Answered<'_>) {
        let Answered { verb, code, host, took, request_bytes, response_bytes } = *answered;
        self.0.answered(verb, code, host, took, request_bytes, response_bytes);
    }

    fn limited(&self, verb: &str, host: &str, waited: Duration) {
        self.0.limited(verb, host, waited);
    }
}

/// A source that is ready to run.
pub(crate) enum AnySource {
    /// A folder of manifests.
    Manifests(ManifestSource),
    /// An API server.
    Api(Box<ApiSource>),
}

impl AnySource {
    /// Makes the source that the configuration names. `program` is what the binary was called as, by
    /// which API servers know it; requests are told to `observer`.
    ///
    /// # Errors
    /// The API server or our credentials for it cannot be made out.
    pub(crate) async fn new(
        source: &Source,
        node_name: &Name,
        program: Option<&OsStr>,
        observer: Arc<dyn ClientObserver>,
    ) -> anyhow::Result<Self> {
        match source {
            Source::Manifests(folder) => {
                Ok(Self::Manifests(ManifestSource::new(folder, Name::clone(node_name))))
            }
            Source::Api(access) => {
                let server = ApiServer {
                    kubeconfig: access.kubeconfig.clone(),
                    master: access.master.clone(),
                    qps: access.qps,
                    burst: access.burst,
                    paged_lists: !access.streamed_lists,
                    agent: program.map(agent).unwrap_or_default(),
                };
                let source = ApiSource::new(&server, &**node_name, Timing::default(), observer).await?;
                Ok(Self::Api(Box::new(source)))
            }
        }
    }

    /// Has a folder of manifests that cannot be read at the start keep what `earlier` processes wrote, if there is
    /// anything, and `health` say why.
    pub(crate) fn cautious(
        self,
        health: &Health,
        earlier: impl Future<Output = bool> + Send + 'static,
    ) -> Self {
        let Self::Manifests(source) = self else { return self };
        let health = health.clone();
        let tell = move |unread: &[String]| {
            let reason =
                (!unread.is_empty()).then(|| format!("manifests cannot be read: {}", in_short(unread)));
            health.set_incomplete(reason);
        };
        Self::Manifests(source.with_earlier_rules(earlier).with_unread_report(tell))
    }

    /// Takes reports to the cluster, if there is one.
    pub(crate) fn events(&self) -> EventRecorder {
        match self {
            Self::Manifests(_) => EventRecorder::disabled(),
            Self::Api(source) => source.events(),
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

/// The first few of many reasons.
fn in_short(reasons: &[String]) -> String {
    let first = reasons.iter().take(MAX_REASONS).map(String::as_str).collect::<Vec<_>>().join("; ");
    match reasons.len().checked_sub(MAX_REASONS) {
        Some(more @ 1..) => format!("{first}; and {more} more"),
        _ => first,
    }
}

/// The last part of a program's path.
fn agent(program: &OsStr) -> String {
    Path::new(program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
