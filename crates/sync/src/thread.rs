//! The thread of the loop.
//!
//! A backend may block its thread for as long as the kernel takes, so the loop has its own: watches and health
//! endpoints keep working meanwhile. Backends are created on that thread too, inside its runtime, because some register
//! with it.

use std::any::Any;
use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use portolan_core::BackendError;
use portolan_core::event::Event;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::sync_loop::{Stopped, SyncLoop};

/// Longer than the period of full syncs, each of which searches for stale flows.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(24 * 60 * 60);

/// A running loop on its own thread. Dropping it stops the loop.
#[derive(Debug)]
pub struct SyncThread {
    stop: CancellationToken,
    outcome: oneshot::Receiver<Result<Stopped, SyncThreadError>>,
    thread: Option<JoinHandle<()>>,
}

/// Why the loop could not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncThreadError {
    /// The thread or its runtime could not be created.
    #[error("cannot start the sync thread")]
    Start {
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A backend could not be created.
    #[error("cannot start the backend")]
    Backend {
        /// The error of the backend.
        #[source]
        source: BackendError,
    },
    /// There is a bug in the program; the rules are no longer synced.
    #[error("the sync thread panicked: {message}")]
    Panicked {
        /// The message of the panic.
        message: String,
    },
}

impl SyncThread {
    /// Runs the loop that `make` returns, and `make` itself, on a new thread.
    ///
    /// # Errors
    /// The thread could not be created. All other errors are returned by [`SyncThread::ended`].
    pub fn start(
        make: impl FnOnce() -> Result<SyncLoop, BackendError> + Send + 'static,
        events: mpsc::Receiver<Event>,
    ) -> Result<Self, SyncThreadError> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (outcome_sender, outcome) = oneshot::channel();
        let body = move || {
            // The receiver is gone if the process is ending.
            let _ = outcome_sender.send(run(make, events, stopped));
        };
        let thread = Builder::new()
            .name("sync".into())
            .spawn(body)
            .map_err(|source| SyncThreadError::Start { source })?;
        Ok(Self { stop, outcome, thread: Some(thread) })
    }

    /// Asks the loop to stop; a running apply is finished first.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the end of the loop. Must not be called again after it has returned.
    ///
    /// # Errors
    /// The loop could not start, or panicked.
    pub async fn ended(&mut self) -> Result<Stopped, SyncThreadError> {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome,
            // Only a panic drops the sender without sending; the thread ends right after.
            Err(_dropped) => {
                let message = self.thread.take().and_then(|thread| thread.join().err());
                Err(SyncThreadError::Panicked { message: message.map_or_else(String::new, panic_message) })
            }
        }
    }
}

impl Drop for SyncThread {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(
    make: impl FnOnce() -> Result<SyncLoop, BackendError>,
    events: mpsc::Receiver<Event>,
    stop: CancellationToken,
) -> Result<Stopped, SyncThreadError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("flows")
        // The thread that searches for stale flows is kept: on a host at its limit of threads, another could not be
        // created.
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .build()
        .map_err(|source| SyncThreadError::Start { source })?;
    let result = runtime.block_on(async {
        let sync_loop = make().map_err(|source| SyncThreadError::Backend { source })?;
        Ok(sync_loop.run(events, stop).await)
    });
    // Does not wait for a running search for stale flows.
    runtime.shutdown_background();
    result
}

/// The message of a panic, which is text in all ordinary cases.
fn panic_message(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().map_or_else(String::new, |text| (*text).to_owned()),
    }
}

#[cfg(test)]
mod tests;
