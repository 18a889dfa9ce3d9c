//! The threads that relay, and what all relays share.
//!
//! They are apart from the thread that applies plans, so that neither waits for the other: a plan is handed
//! over by replacing what a [`Balancer`](crate::balancer::Balancer) knows.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::limits::Limits;
use crate::tcp::Pipes;
use crate::unsupported::Unsupported;

/// How long a client of UDP is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UdpTimeouts {
    /// After the last of several datagrams.
    pub(crate) idle: Duration,
    /// After its only one, unless that is longer.
    pub(crate) single: Duration,
}

/// What all relays of a process share.
#[derive(Debug)]
pub(crate) struct Relay {
    runtime: Option<Runtime>,
    pub(crate) limits: Limits,
    pub(crate) pipes: Pipes,
    pub(crate) unsupported: Unsupported,
    pub(crate) udp_timeouts: UdpTimeouts,
    /// Time is counted from here where it must fit into an atomic number.
    pub(crate) epoch: Instant,
}

impl Relay {
    /// Starts so many threads. They live in the network namespace and with the capabilities of the thread
    /// that calls this.
    ///
    /// # Errors
    /// Threads or an epoll descriptor cannot be had.
    pub(crate) fn start(threads: usize, limits: Limits, udp_timeouts: UdpTimeouts) -> io::Result<Arc<Self>> {
        let mut builder = Builder::new_multi_thread();
        let runtime =
            builder.worker_threads(threads).thread_name("relay").enable_io().enable_time().build()?;
        let (pipes, epoch) = (Pipes::new(limits.most_pipes()), Instant::now());
        let unsupported = Unsupported::new(Arc::clone(limits.counters()));
        Ok(Arc::new(Self { runtime: Some(runtime), limits, pipes, unsupported, udp_timeouts, epoch }))
    }

    /// Where to start relays; nothing once the process ends.
    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.runtime.as_ref().map(Runtime::handle)
    }

    /// Milliseconds since the start.
    pub(crate) fn clock(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for the threads is not allowed here: the last to let go may be one of them.
            runtime.shutdown_background();
        }
    }
}
