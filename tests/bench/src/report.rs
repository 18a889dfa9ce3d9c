//! What a run of the suite found: as JSON for programs, as a table and curves for people.
//!
//! A scenario yields [`Row`]s and judges nothing; the tables say beside a figure what was aimed at, and
//! [`Report::compare`] sets two runs side by side. The JSON file holds one [`Report`]:
//!
//! ```json
//! {
//!   "machine": {
//!     "kernel": "6.18.5", "cpus": 2, "cpu": "AMD EPYC", "memory": 8589934592,
//!     "portolan": "v1.36.2+portolan.0.1.0"
//!   },
//!   "mode": "nftables",
//!   "rows": [
//!     {
//!       "scenario": "step", "services": 10000, "endpoints": 20000, "measure": "p99",
//!       "seen": "outside", "value": 0.00041, "unit": "seconds", "target": 0.001
//!     }
//!   ]
//! }
//! ```
//!
//! Always holds: fields stand in the order they are declared in, rows in the order they were measured in,
//! and a `target` of `null` says that none was set. Values are in the base unit, so that readers need not
//! parse `1.2 ms`.

mod compare;
mod curves;
mod figure;
mod grid;
mod kept;
mod machine;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub(crate) use figure::Unit;
pub(crate) use machine::Machine;

/// One run of the suite, what the JSON file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// The proxy's `--mode`.
    pub(crate) mode: String,
    pub(crate) rows: Vec<Row>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What was done: `cold-10k`, `step`, `add-vip`, `churn`, `memory`, `connect` and so on.
    pub(crate) scenario: String,
    pub(crate) services: u32,
    /// Of all services together.
    pub(crate) endpoints: u32,
    /// What the figure is of: `p50`, `p99`, `once`, `longest transaction`, `steady`, `peak`, `CPU` and so on.
    pub(crate) measure: String,
    pub(crate) seen: Seen,
    /// In `unit`.
    pub(crate) value: f64,
    pub(crate) unit: Unit,
    /// In `unit`; what the value should at most be.
    pub(crate) target: Option<f64>,
}

/// Who took the figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Seen {
    /// A packet, or the kernel's notice.
    Outside,
    /// The proxy's own metrics.
    Inside,
}

impl Seen {
    fn word(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Inside => "inside",
        }
    }
}

impl Row {
    /// Whether the target is met; none if none was set.
    fn is_met(&self) -> Option<bool> {
        self.target.map(|target| self.value <= target)
    }

    /// What a row is of: two runs measured the same where this is the same.
    fn subject(&self) -> (&str, u32, u32, &str, Seen) {
        (&self.scenario, self.services, self.endpoints, &self.measure, self.seen)
    }
}

impl Report {
    /// Writes the file described above, each row on its own line.
    pub(crate) fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        let rows: Vec<String> = self.rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let text = format!(
            "{{\n  \"machine\": {},\n  \"mode\": {},\n  \"rows\": [\n    {}\n  ]\n}}\n",
            serde_json::to_string(&self.machine)?,
            serde_json::to_string(&self.mode)?,
            rows.join(",\n    ")
        );
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads a file that [`Report::write_json`] wrote.
    pub(crate) fn read_json(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no report", path.display()))
    }
}
