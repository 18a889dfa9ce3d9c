//! One event, taken apart.

use std::error::Error;
use std::fmt;

use jiff::Timestamp;
use portolan_core::backend::error_chain;
use portolan_sync::DETAIL;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

/// One event, taken apart; how it looks is decided later.
pub(crate) struct Entry {
    pub(crate) time: Timestamp,
    pub(crate) level: Level,
    /// klog's verbosity of the line.
    pub(crate) verbosity: u8,
    /// File and line.
    pub(crate) caller: String,
    pub(crate) message: String,
    /// In the order in which they were given.
    pub(crate) fields: Vec<(&'static str, Value)>,
}

impl Entry {
    pub(crate) fn new(event: &Event<'_>, time: Timestamp) -> Self {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        Self {
            time,
            level: *metadata.level(),
            verbosity: verbosity(metadata),
            caller: caller(metadata),
            message: fields.message,
            fields: fields.fields,
        }
    }
}

/// The smallest `-v` that shows the line.
fn verbosity(metadata: &Metadata<'_>) -> u8 {
    match *metadata.level() {
        Level::TRACE => 6,
        Level::DEBUG => 4,
        Level::INFO if metadata.target() == DETAIL => 2,
        _ => 0,
    }
}

/// klog gives the file without its folders.
fn caller(metadata: &Metadata<'_>) -> String {
    let file = metadata.file().unwrap_or(metadata.target());
    let name = file.rsplit('/').next().unwrap_or(file);
    format!("{name}:{}", metadata.line().unwrap_or(0))
}

#[derive(Default)]
struct Fields {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.push((field.name(), value.into()));
    }

    fn add_text(&mut self, field: &Field, text: String) {
        if field.name() == "message" { self.message = text } else { self.add(field, text) }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, error_chain(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.add(field, value),
            Err(_too_large_for_json) => self.add(field, value.to_string()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
}
