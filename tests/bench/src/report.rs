//! The figures as a table for people and as JSON for programs.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

/// One measured thing.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) services: u32,
    pub(crate) endpoints: u32,
    /// What the figure is of: `once`, `p50`, `p99`, `longest transaction`, `steady`.
    pub(crate) measure: &'static str,
    #[serde(flatten)]
    pub(crate) value: Value,
    /// Operations written to the kernel for one of these.
    pub(crate) operations: usize,
}

/// A figure with its unit.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Value {
    Seconds(f64),
    Bytes(u64),
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        Self::Seconds(duration.as_secs_f64())
    }
}

impl Value {
    fn show(self) -> String {
        match self {
            Self::Seconds(s) if s >= 1.0 => format!("{s:.2} s"),
            Self::Seconds(s) if s >= 0.001 => format!("{:.2} ms", s * 1e3),
            Self::Seconds(s) => format!("{:.1} µs", s * 1e6),
            Self::Bytes(bytes) => format!("{} MB", bytes / 1_000_000),
        }
    }
}

/// Prints the rows aligned.
#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
pub(crate) fn print_table(rows: &[Row]) {
    println!(
        "{:<16} {:>9} {:>10} {:<20} {:>12} {:>11}",
        "scenario", "services", "endpoints", "measure", "value", "operations"
    );
    for row in rows {
        println!(
            "{:<16} {:>9} {:>10} {:<20} {:>12} {:>11}",
            row.scenario,
            row.services,
            row.endpoints,
            row.measure,
            row.value.show(),
            row.operations
        );
    }
}

/// Writes the rows as one JSON array.
pub(crate) fn write_json(rows: &[Row], path: &Path) -> anyhow::Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    serde_json::to_writer_pretty(file, rows)?;
    Ok(())
}
