//! Writes each event as one line.

use jiff::Timestamp;
use portolan_config::LogFormat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::entry::Entry;
use super::line::render;

/// Takes finished lines.
pub(crate) trait Sink: 'static {
    /// Writes one line, all at once, so that lines of two threads do not mix.
    fn write(&self, level: Level, line: &str);
}

/// Writes each event as one line.
pub(crate) struct LineLayer<S> {
    format: LogFormat,
    process: u32,
    sink: S,
}

impl<S> LineLayer<S> {
    /// Lines go to `sink`.
    pub(crate) fn new(format: LogFormat, sink: S) -> Self {
        Self { format, process: std::process::id(), sink }
    }
}

impl<S: Subscriber, T: Sink> Layer<S> for LineLayer<T> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let entry = Entry::new(event, Timestamp::now());
        self.sink.write(entry.level, &render(self.format, &entry, self.process));
    }
}

#[cfg(test)]
mod tests;
