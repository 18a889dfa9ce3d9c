//! Writes each event as one line.

use std::io::Write;

use jiff::Timestamp;
use portolan_config::LogFormat;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::entry::Entry;
use super::line::render;

/// Writes each event as one line, with one write, so that lines of two threads do not mix.
pub(crate) struct LineLayer<F> {
    format: LogFormat,
    process: u32,
    writer: F,
}

impl<F, W> LineLayer<F>
where
    F: Fn() -> W,
    W: Write,
{
    /// Lines go to what `writer` returns.
    pub(crate) fn new(format: LogFormat, writer: F) -> Self {
        Self { format, process: std::process::id(), writer }
    }
}

impl<S, F, W> Layer<S> for LineLayer<F>
where
    S: Subscriber,
    F: Fn() -> W + 'static,
    W: Write,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = render(self.format, &Entry::new(event, Timestamp::now()), self.process);
        // There is nowhere to say that nothing can be said.
        let _ = (self.writer)().write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests;
