//! The curves a user looks at first, as SVG.
//!
//! Each picture takes the rows of one scenario; a series is a measure as one side saw it, and every row of it is
//! a point. The same report always gives the same bytes, so pictures can be kept beside a document and compared.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

use super::{Report, Row, Unit};
use chart::{Axis, Chart, Series};
use span::Scale;

mod chart;
mod span;
#[cfg(test)]
mod tests;

/// One picture: which rows, and how to show them.
struct Picture {
    file: &'static str,
    title: &'static str,
    scenario: &'static str,
    unit: Unit,
    /// Measures that end so are shown.
    measures: &'static [&'static str],
    x: Axis,
    y: Axis,
    place: fn(&Row) -> u32,
    /// What else tells series apart, added to their names.
    also: fn(&Row) -> String,
}

const SERVICES: Axis = Axis { label: "services", scale: Scale::Logarithmic };
const ENDPOINTS: Axis = Axis { label: "endpoints", scale: Scale::Linear };

const PICTURES: [Picture; 4] = [
    Picture {
        file: "first-load.svg",
        title: "First load: from the first request to the last commit",
        scenario: "cold",
        unit: Unit::Seconds,
        measures: &["from the first request"],
        x: SERVICES,
        y: Axis { label: "time", scale: Scale::Logarithmic },
        place: |row| row.services,
        also: |_| String::new(),
    },
    Picture {
        file: "sync-time.svg",
        title: "One endpoint changed: until the kernel has it",
        scenario: "step",
        unit: Unit::Seconds,
        measures: &["p50", "p99"],
        x: SERVICES,
        y: Axis { label: "time", scale: Scale::Logarithmic },
        place: |row| row.services,
        also: |_| String::new(),
    },
    Picture {
        file: "memory.svg",
        title: "Resident memory",
        scenario: "memory",
        unit: Unit::Bytes,
        measures: &["steady", "peak"],
        x: ENDPOINTS,
        y: Axis { label: "resident", scale: Scale::Linear },
        place: |row| row.endpoints,
        // As many endpoints of few Services take less than of many.
        also: |row| format!(", {} each", row.endpoints.checked_div(row.services).unwrap_or_default()),
    },
    Picture {
        file: "connect.svg",
        title: "Setting up a TCP connection",
        scenario: "connect",
        unit: Unit::Seconds,
        measures: &["p50"],
        x: SERVICES,
        y: Axis { label: "time", scale: Scale::Linear },
        place: |row| row.services,
        also: |_| String::new(),
    },
];

impl Report {
    /// Draws what the report has rows for into `folder`, and makes that if it is missing.
    pub(crate) fn write_curves(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for picture in &PICTURES {
            let Some(chart) = picture.chart(self) else { continue };
            let path = folder.join(picture.file);
            let svg = chart.svg().with_context(|| format!("cannot draw {}", path.display()))?;
            std::fs::write(&path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Report {
    /// Files and titles of what can be drawn.
    pub(super) fn pictures(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let has_rows = |picture: &&Picture| self.rows.iter().any(|row| picture.shows(row));
        PICTURES.iter().filter(has_rows).map(|picture| (picture.file, picture.title))
    }
}

impl Picture {
    /// None without a row to show.
    fn chart(&self, report: &Report) -> Option<Chart> {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| self.shows(row)).collect();
        let mut series: Vec<Series> = Vec::new();
        for row in &rows {
            let name = name(row, &rows) + &(self.also)(row);
            let at = (f64::from((self.place)(row)), row.value);
            match series.iter_mut().find(|series| series.name == name) {
                Some(series) => series.points.push(at),
                None => series.push(Series { name, points: vec![at] }),
            }
        }
        for series in &mut series {
            series.points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        }
        let targets = self.targets(&rows);
        let (title, x, y, unit) = (self.title, self.x, self.y, self.unit);
        (!series.is_empty()).then_some(Chart { title, x, y, unit, series, targets })
    }

    fn shows(&self, row: &Row) -> bool {
        let is_shown = self.measures.iter().any(|measure| row.measure.ends_with(measure));
        // A difference of two curves is no third curve, and lies far below them.
        is_shown
            && row.scenario == self.scenario
            && row.unit == self.unit
            && !row.measure.starts_with("difference")
    }

    /// What was aimed at, for each measure that had an aim.
    fn targets(&self, rows: &[&Row]) -> Vec<Series> {
        let mut targets: BTreeMap<&str, BTreeMap<u32, f64>> = BTreeMap::new();
        for row in rows {
            if let Some(target) = row.target {
                targets.entry(&row.measure).or_default().insert((self.place)(row), target);
            }
        }
        let points = |aims: BTreeMap<u32, f64>| aims.into_iter().map(|(x, y)| (f64::from(x), y)).collect();
        let series = |(measure, aims)| Series { name: format!("target of {measure}"), points: points(aims) };
        targets.into_iter().map(series).collect()
    }
}

/// Who saw it is said only where both did.
fn name(row: &Row, rows: &[&Row]) -> String {
    let is_seen_twice = rows.iter().any(|other| other.seen != row.seen);
    if is_seen_twice { format!("{}, {}", row.measure, row.seen.word()) } else { row.measure.clone() }
}
