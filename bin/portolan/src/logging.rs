//! Logging to standard error, as kube-proxy's klog does it.
//!
//! The same line shapes and the same `-v`, so that log collectors and people find
//! what they know. Times are UTC.

mod entry;
mod layer;
mod line;
mod verbosity;

use std::io::stderr;
use std::panic::{self, PanicHookInfo};

use portolan_config::Logging;
use tracing::error;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use layer::LineLayer;

/// Sends all log lines of this process, and what panics say, to standard error.
///
/// The first call decides; a process that has logging already keeps it.
pub(crate) fn start(logging: Logging) {
    let lines = LineLayer::new(logging.format, stderr);
    let filter = verbosity::targets(logging.verbosity);
    if Registry::default().with(filter).with(lines).try_init().is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
}

/// A panic in the shape of all other lines, as collectors may not take any other.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let message = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let thread = std::thread::current();
    error!(err = message, place, thread = thread.name().unwrap_or("unnamed"), "panic");
}
