//! The servers: health, metrics, and those for load balancers' checks of single Services.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::anyhow;
use axum::Router;
use portolan_config::Config;
use portolan_health::service_health::ServiceHealth;
use portolan_health::status::Status;
use portolan_health::{Health, Probe, listen, probes, status};
use portolan_metrics::Metrics;
use portolan_source::{EventRecorder, Report};

use crate::proxy::Parts;
use crate::reports;
use crate::selection::LAST_WORDS;

/// What servers answer from.
pub(crate) struct Servers<'a> {
    pub(crate) config: &'a Config,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) events: EventRecorder,
    pub(crate) node_name: String,
}

/// How to report that a server cannot listen.
type Failed = fn(&str) -> Report;

impl Servers<'_> {
    /// Starts all of them. Those for load balancers' checks of single Services listen once told of some.
    pub(crate) fn start(self, parts: &mut Parts, page: Status) -> ServiceHealth {
        if let Some(address) = self.config.healthz_address {
            let router = self.probes();
            self.serve(parts, "health", address, router, reports::health_server_failed);
        }
        let address = self.config.metrics_address;
        self.serve(parts, "metrics", address, status::router(page), reports::metrics_server_failed);
        let (events, node_name) = (self.events, self.node_name);
        let service_health = ServiceHealth::default().on_failure(Arc::new(move |failure| {
            events.record(reports::service_port_failed(&node_name, failure));
        }));
        let servers = service_health.clone().serve(self.health);
        parts.spawn(async move { never(servers.await) });
        service_health
    }

    fn probes(&self) -> Router {
        let answers = self.metrics.probes.clone();
        let answered = Arc::new(move |probe, status| match probe {
            Probe::Healthz => answers.healthz(status),
            Probe::Livez => answers.livez(status),
            Probe::Readyz => answers.readyz(status),
        });
        probes::router(self.health.clone(), answered)
    }

    fn serve(
        &self,
        parts: &mut Parts,
        name: &'static str,
        address: SocketAddr,
        router: Router,
        failed: Failed,
    ) {
        if !self.config.bind_address_hard_fail {
            parts.spawn(async move { never(listen::serve(name, address, router).await) });
            return;
        }
        let events = self.events.clone();
        parts.spawn(async move {
            let problem = listen::serve_or_fail(name, address, router).await;
            events.record(failed(&problem.to_string()));
            events.flush(LAST_WORDS).await;
            Err(anyhow!(problem).context(format!("the {name} server cannot serve {address}")))
        });
    }
}

/// What never ends ends with nothing.
pub(crate) fn never(end: Infallible) -> anyhow::Result<()> {
    match end {}
}
