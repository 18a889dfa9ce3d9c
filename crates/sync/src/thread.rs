//! The thread that the loop runs on.
//!
//! A backend may block its thread for as long as the kernel takes, so it gets one that
//! serves nobody else: watches and health answers go on meanwhile. Backends are made
//! on that thread too, inside its runtime, for those that register with one.

use std::any::Any;
use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use portolan_core::BackendError;
use portolan_core::event::Event;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};

use crate::sync_loop::{Stop, Stopped, SyncLoop};

/// Longer than from one complete comparison to the next, which always looks for stale flows.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(24 * 60 * 60);

/// A running loop on its own thread. Dropping it asks the loop to stop.
#[derive(Debug)]
pub struct SyncThread {
    stop: watch::Sender<bool>,
    outcome: oneshot::Receiver<Result<Stopped, SyncThreadError>>,
    thread: Option<JoinHandle<()>>,
}

/// Why the loop does not run, or not any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncThreadError {
    /// The system gave no thread.
    #[error("the sync thread cannot be started")]
    Spawn {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The thread got no runtime.
    #[error("the sync thread's runtime cannot be started")]
    Runtime {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A backend cannot be made.
    #[error("the backend cannot be started")]
    Backend {
        /// Why not.
        #[source]
        source: BackendError,
    },
    /// There is a fault in the program; nothing will be applied any more.
    #[error("the sync thread panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
}

impl SyncThread {
    /// Runs on a new thread the loop that `make` returns there.
    ///
    /// # Errors
    /// There is no thread to be had. All other failures are told by [`SyncThread::ended`].
    pub fn start(
        make: impl FnOnce() -> Result<SyncLoop, BackendError> + Send + 'static,
        events: mpsc::Receiver<Event>,
    ) -> Result<Self, SyncThreadError> {
        let (stop, asked) = Stop::channel();
        let (outcome_sender, outcome) = oneshot::channel();
        let body = move || {
            // Nobody listens when the process is ending anyway.
            let _ = outcome_sender.send(run(make, events, asked));
        };
        let thread = Builder::new()
            .name("sync".into())
            .spawn(body)
            .map_err(|source| SyncThreadError::Spawn { source })?;
        Ok(Self { stop, outcome, thread: Some(thread) })
    }

    /// Asks the loop to finish the apply it is in, if any, and to stop.
    pub fn stop(&self) {
        // An error means that it has stopped already.
        let _ = self.stop.send(true);
    }

    /// Waits for the loop to end and says how it did; to be called until it has returned once.
    ///
    /// # Errors
    /// It could not start, or panicked.
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

fn run(
    make: impl FnOnce() -> Result<SyncLoop, BackendError>,
    events: mpsc::Receiver<Event>,
    stop: Stop,
) -> Result<Stopped, SyncThreadError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("flows")
        // A thread that has removed stale flows waits for the next ones: on a host that has
        // no more threads to give, another could not be had.
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .build()
        .map_err(|source| SyncThreadError::Runtime { source })?;
    let result = runtime.block_on(async {
        let sync_loop = make().map_err(|source| SyncThreadError::Backend { source })?;
        Ok(sync_loop.run(events, stop).await)
    });
    // A search for stale flows must not hold up the end.
    runtime.shutdown_background();
    result
}

/// What `panic!` was given, which is text in all ordinary cases.
fn panic_message(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().map_or_else(String::new, |text| (*text).to_owned()),
    }
}

#[cfg(test)]
mod tests;
