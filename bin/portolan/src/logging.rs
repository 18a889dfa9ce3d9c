//! Logging as kube-proxy's klog does it.
//!
//! The same line shapes and the same `-v`, so that log collectors and people find
//! what they know. Times are UTC.

mod entry;
mod layer;
mod line;
mod verbosity;

use std::io::{Write, stderr, stdout};
use std::panic::{self, PanicHookInfo};

use portolan_config::Logging;
use tracing::{Level, error};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use layer::{LineLayer, Sink};

/// Changes how much is logged while the process runs; clones change the same.
#[derive(Clone)]
pub(crate) struct VerbosityHandle(Option<reload::Handle<Targets, Registry>>);

impl VerbosityHandle {
    /// From now on this much is logged.
    pub(crate) fn set(&self, verbosity: u32) {
        // Fails only after logging itself is gone.
        let _ = self.0.as_ref().map(|handle| handle.reload(verbosity::targets(verbosity)));
    }

    /// A handle on no log, and what tells at which verbosity it is.
    #[cfg(test)]
    pub(crate) fn detached() -> (Self, impl Fn() -> Option<u32>) {
        let (layer, handle) = reload::Layer::new(verbosity::targets(0));
        let current = handle.clone();
        let verbosity = move || {
            // The handle is of no use without it.
            let _kept = std::hint::black_box(&layer);
            let now = current.with_current(ToString::to_string).ok()?;
            (0..9).find(|level| verbosity::targets(*level).to_string() == now)
        };
        (Self(Some(handle)), verbosity)
    }
}

/// Sends all log lines of this process, and what panics say, to standard error; with
/// `split_stream`, all but errors to standard output.
///
/// The first call decides; a process that has logging already keeps it.
pub(crate) fn start(logging: Logging) -> VerbosityHandle {
    let lines = LineLayer::new(logging.format, Streams { split: logging.split_stream });
    let (filter, handle) = reload::Layer::new(verbosity::targets(logging.verbosity));
    if Registry::default().with(filter).with(lines).try_init().is_err() {
        return VerbosityHandle(None);
    }
    panic::set_hook(Box::new(log_panic));
    VerbosityHandle(Some(handle))
}

/// Where lines go, by their level.
struct Streams {
    split: bool,
}

impl Sink for Streams {
    fn write(&self, level: Level, line: &str) {
        // There is nowhere to say that nothing can be said.
        let _ = if self.split && level != Level::ERROR {
            stdout().write_all(line.as_bytes())
        } else {
            stderr().write_all(line.as_bytes())
        };
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
