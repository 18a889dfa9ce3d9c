//! Events in, lines out.

use std::sync::{Arc, Mutex};

use portolan_sync::DETAIL;
use serde_json::Value;
use tracing::{debug, error, info, warn};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::logging::verbosity::targets;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Sink for Lines {
    fn write(&self, _: Level, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

/// The lines that `work` logs.
fn logged(format: LogFormat, verbosity: u32, work: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    let layer = LineLayer { format, process: 42, sink: lines.clone() };
    let subscriber = Registry::default().with(targets(verbosity)).with(layer);
    tracing::subscriber::with_default(subscriber, work);
    let lines = lines.0.lock().unwrap();
    lines.clone()
}

fn say_everything() {
    let family = portolan_core::IpFamily::V4;
    info!(%family, count = 3, wait = ?std::time::Duration::from_millis(1_500), "a \"quoted\"\nmessage");
    warn!(ratio = 0.5, on = true, text = "line\nfeed", "careful");
    error!(err = "no buffer space", retry_ms = 436_u128, "broken");
    info!(target: DETAIL, "more");
    debug!("most");
}

#[test]
fn text_lines_are_klogs() {
    let lines = logged(LogFormat::Text, 2, say_everything);
    let (heads, tails): (Vec<_>, Vec<_>) = lines.iter().map(|line| line.split_once("] ").unwrap()).unzip();
    assert_eq!(
        tails,
        [
            "\"a \\\"quoted\\\"\\nmessage\" family=\"IPv4\" count=3 wait=\"1.5s\"\n",
            "\"careful\" ratio=0.5 on=true text=\"line\\nfeed\"\n",
            "\"broken\" err=\"no buffer space\" retry_ms=436\n",
            "\"more\"\n",
        ]
    );
    let severities: String = heads.iter().map(|head| &head[..1]).collect();
    assert_eq!(severities, "IWEI");
    let shape: String = heads[0].chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert!(shape.starts_with("I0000 00:00:00.000000      00 tests.rs:00"), "{shape}");
    let month: u32 = heads[0][1..3].parse().unwrap();
    assert!((1..=12).contains(&month));
}

#[test]
fn json_lines_are_objects_with_klogs_keys() {
    let lines = logged(LogFormat::Json, 4, say_everything);
    let objects: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |key: &str| objects.iter().map(|object| object[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("level"), ["info", "warn", "error", "info", "debug"]);
    assert_eq!(of("msg"), ["a \"quoted\"\nmessage", "careful", "broken", "more", "most"]);
    assert_eq!(of("v"), [Value::from(0), Value::from(0), Value::Null, Value::from(2), Value::from(4)]);
    assert_eq!(objects[0]["family"], "IPv4");
    assert_eq!(objects[0]["count"], 3);
    assert_eq!(objects[2]["err"], "no buffer space");
    assert!(objects[0]["caller"].as_str().unwrap().starts_with("tests.rs:"));
    let time = std::time::Duration::from_secs_f64(objects[0]["ts"].as_f64().unwrap() / 1_000.0);
    let age = std::time::UNIX_EPOCH.elapsed().unwrap().abs_diff(time);
    assert!(age.as_secs() < 60, "{age:?} away from now");
    assert!(lines.iter().all(|line| line.ends_with("}\n") && line.matches('\n').count() == 1));
}

#[test]
fn verbosity_decides_which_lines_there_are() {
    for (verbosity, count) in [(0, 3), (1, 3), (2, 4), (3, 4), (4, 5), (9, 5)] {
        assert_eq!(logged(LogFormat::Text, verbosity, say_everything).len(), count, "-v {verbosity}");
    }
}
