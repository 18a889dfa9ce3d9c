//! The figures as a table.
//!
//! What was seen from outside and what the proxy says of itself stand side by side, for they must agree.

use super::grid::{Grid, Side};
use super::{Report, Row, Seen, Unit};

/// The figures of one measure in one scenario at one size.
struct Line<'a> {
    of: &'a Row,
    outside: Option<&'a Row>,
    inside: Option<&'a Row>,
}

impl Report {
    /// The table as text, under a line about the machine.
    pub(crate) fn table(&self) -> String {
        format!("{}; mode {}\n\n{}", self.machine.line(), self.mode, self.grid().grouped_text())
    }

    /// The same for a document.
    pub(crate) fn markdown(&self) -> String {
        format!("{}; mode {}.\n\n{}", self.machine.line(), self.mode, self.grid().markdown())
    }

    fn grid(&self) -> Grid {
        let mut grid = Grid::new(&[
            ("scenario", Side::Left),
            ("services", Side::Right),
            ("endpoints", Side::Right),
            ("measure", Side::Left),
            ("outside", Side::Right),
            ("inside", Side::Right),
            ("of outside", Side::Right),
            ("target", Side::Right),
            ("met", Side::Left),
        ]);
        let mut scenario = "";
        for line in self.lines() {
            let name = if line.of.scenario == scenario { "" } else { line.of.scenario.as_str() };
            scenario = &line.of.scenario;
            grid.push(line.cells(name));
        }
        grid
    }

    /// Scenarios and what was measured in each, in the order in which they first come.
    fn lines(&self) -> Vec<Line<'_>> {
        let mut lines: Vec<Line<'_>> = Vec::new();
        for row in &self.rows {
            if let Some(line) = lines.iter_mut().find(|line| line.takes(row)) {
                *line.place(row.seen) = Some(row);
                continue;
            }
            let mut line = Line { of: row, outside: None, inside: None };
            *line.place(row.seen) = Some(row);
            // Behind what its own scenario has so far.
            let last = lines.iter().rposition(|line| line.of.scenario == row.scenario);
            lines.insert(last.map_or(lines.len(), |last| last + 1), line);
        }
        lines
    }
}

impl<'a> Line<'a> {
    /// Whether the row is of the same measure, and its place still free.
    fn takes(&self, row: &Row) -> bool {
        let Row { scenario, services, endpoints, measure, unit, .. } = self.of;
        let is_same = (scenario, services, endpoints, measure, unit)
            == (&row.scenario, &row.services, &row.endpoints, &row.measure, &row.unit);
        is_same && self.figure(row.seen).is_none()
    }

    fn figure(&self, seen: Seen) -> Option<&'a Row> {
        match seen {
            Seen::Outside => self.outside,
            Seen::Inside => self.inside,
        }
    }

    fn place(&mut self, seen: Seen) -> &mut Option<&'a Row> {
        match seen {
            Seen::Outside => &mut self.outside,
            Seen::Inside => &mut self.inside,
        }
    }

    /// What part of the figure from outside the proxy's own is.
    fn ratio(&self) -> Option<f64> {
        let ratio = self.inside?.value / self.outside?.value;
        ratio.is_finite().then_some(ratio)
    }

    fn cells(&self, scenario: &str) -> Vec<String> {
        let figures = || self.outside.into_iter().chain(self.inside);
        let shown = |row: Option<&Row>| row.map_or_else(String::new, |row| row.unit.show(row.value));
        let target = figures().find_map(|row| row.target);
        let verdict = match figures().filter_map(Row::is_met).reduce(|all, met| all && met) {
            None => "",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        vec![
            scenario.to_owned(),
            self.of.services.to_string(),
            self.of.endpoints.to_string(),
            self.of.measure.clone(),
            shown(self.outside),
            shown(self.inside),
            self.ratio().map_or_else(String::new, |ratio| Unit::Ratio.show(ratio)),
            target.map_or_else(String::new, |target| format!("≤ {}", self.of.unit.show(target))),
            verdict.to_owned(),
        ]
    }
}
