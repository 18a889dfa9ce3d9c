//! Being asked to end.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

/// `SIGTERM`, which the kubelet sends, and `SIGINT`, which a terminal does.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on these signals are waited for, and no longer kill the process.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them and says which. `SIGHUP`, by which many services read their configuration
    /// anew, ends nothing: the file is followed without it.
    pub(crate) async fn received(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => info!("SIGHUP: the configuration file is followed by itself"),
            }
        }
    }
}
