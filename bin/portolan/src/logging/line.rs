//! How an entry looks.

use std::fmt::Write;

use jiff::tz::TimeZone;
use portolan_config::LogFormat;
use serde_json::{Map, Value, json};
use tracing::Level;

use super::entry::Entry;

/// One line, with its line feed.
pub(crate) fn render(format: LogFormat, entry: &Entry, process: u32) -> String {
    match format {
        LogFormat::Text => text(entry, process),
        LogFormat::Json => json(entry),
    }
}

/// klog's text: `I1121 03:12:00.123456     123 file.rs:7] "message" key="value"`.
fn text(entry: &Entry, process: u32) -> String {
    let severity = match entry.level {
        Level::ERROR => 'E',
        Level::WARN => 'W',
        _ => 'I',
    };
    let time = entry.time.to_zoned(TimeZone::UTC).strftime("%m%d %H:%M:%S.%6f").to_string();
    let mut line = format!("{severity}{time} {process:>7} {}] {:?}", entry.caller, entry.message);
    for (key, value) in &entry.fields {
        // Writing to a String cannot fail.
        let _ = match value {
            Value::String(text) => write!(line, " {key}={text:?}"),
            other => write!(line, " {key}={other}"),
        };
    }
    line.push('\n');
    line
}

/// klog's JSON. `level` is ours: there a warning cannot be told from information.
fn json(entry: &Entry) -> String {
    let mut line = Map::new();
    line.insert("ts".into(), json!(milliseconds(entry)));
    line.insert("level".into(), json!(entry.level.as_str().to_ascii_lowercase()));
    line.insert("caller".into(), json!(entry.caller));
    line.insert("msg".into(), json!(entry.message));
    if entry.level != Level::ERROR {
        line.insert("v".into(), json!(entry.verbosity));
    }
    for (key, value) in &entry.fields {
        line.insert((*key).into(), value.clone());
    }
    format!("{}\n", Value::Object(line))
}

/// Milliseconds since the epoch, with microseconds behind the point.
#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 stay below 2^52 until 2112")]
fn milliseconds(entry: &Entry) -> f64 {
    entry.time.as_microsecond() as f64 / 1_000.0
}
