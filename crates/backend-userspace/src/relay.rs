//! The threads that relay, and what all relays of the process share.
//!
//! They are separate from the thread that applies plans, so that neither waits for the other: a plan is handed over by
//! replacing the state of a [`Balancer`](crate::balancer::Balancer).

use std::collections::HashMap;
use std::io;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use portolan_core::{IpFamily, ServicePortName};
use tokio::runtime::{Builder, Handle, Runtime};
use tracing::warn;

use crate::backend::Options;
use crate::counters::Counters;
use crate::limits::Limits;
use crate::tcp::Pipes;

/// How many threads relay by default at most, on a node that runs other programs.
const MAX_THREADS: usize = 8;

/// What all relays of a process share.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) handle: Handle,
    runtime: Option<Runtime>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) pipes: Pipes,
    pub(crate) options: Options,
    /// The service ports of SCTP, which this mode does not serve, with the IP families whose plan has them.
    unsupported: Mutex<HashMap<ServicePortName, Vec<IpFamily>>>,
    start: Instant,
}

impl Relay {
    /// Starts the threads, in the network namespace and with the capabilities of the calling thread.
    ///
    /// # Errors
    /// Threads or an epoll descriptor cannot be created.
    pub(crate) fn start(options: Options, counters: Arc<Counters>) -> io::Result<Arc<Self>> {
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS),
            threads => threads,
        };
        let mut builder = Builder::new_multi_thread();
        let runtime =
            builder.worker_threads(threads).thread_name("relay").enable_io().enable_time().build()?;
        let limits = Limits::new(counters, options.max_sessions, options.max_sessions_per_service);
        Ok(Arc::new(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            pipes: Pipes::new(limits.max_pipes()),
            limits: Arc::new(limits),
            options,
            unsupported: Mutex::default(),
            start: Instant::now(),
        }))
    }

    /// Milliseconds since the start, for times in atomic numbers.
    pub(crate) fn clock(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
    /// The plan of this IP family has a service port of SCTP, or no longer. It is logged once although both IP families
    /// may have it.
    pub(crate) fn set_unsupported(&self, name: &ServicePortName, family: IpFamily, is_planned: bool) {
        let mut ports = self.unsupported.lock().unwrap_or_else(PoisonError::into_inner);
        if is_planned && !ports.contains_key(name) {
            warn!(servicePort = %name, "Service port is not served: userspace mode does not support SCTP");
        }
        let families = ports.entry(name.clone()).or_default();
        families.retain(|other| *other != family);
        families.extend(is_planned.then_some(family));
        if families.is_empty() {
            ports.remove(name);
        }
        self.limits.counters.unsupported.set(ports.len());
    }

    /// The service ports of SCTP in one IP family's plan.
    pub(crate) fn unsupported(&self, family: IpFamily) -> Vec<ServicePortName> {
        let ports = self.unsupported.lock().unwrap_or_else(PoisonError::into_inner);
        let of_family = ports.iter().filter(|(_, families)| families.contains(&family));
        of_family.map(|(name, _)| name.clone()).collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // One of the threads itself may drop this, so it must not wait for them.
            runtime.shutdown_background();
        }
    }
}
