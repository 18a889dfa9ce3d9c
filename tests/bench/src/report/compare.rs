//! Two runs side by side: what a change of the code did to the figures.

use super::grid::{Grid, Side};
use super::{Report, Row};

impl Report {
    /// How the figures of `after` relate to these, the worst first; then what only one of the two measured.
    ///
    /// Every figure is better when it is smaller, so a ratio above one is a loss.
    pub(crate) fn compare(&self, after: &Self) -> String {
        let mut both: Vec<_> = self
            .rows
            .iter()
            .filter_map(|before| after.find(before).map(|after| (ratio(before, after), before, after)))
            .collect();
        both.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
        let mut grid = Grid::new(&[
            ("ratio", Side::Right),
            ("before", Side::Right),
            ("after", Side::Right),
            ("scenario", Side::Left),
            ("services", Side::Right),
            ("endpoints", Side::Right),
            ("measure", Side::Left),
            ("seen", Side::Left),
        ]);
        for (ratio, before, after) in both {
            grid.push(cells(show(ratio), Some(before), Some(after), before));
        }
        for gone in self.rows.iter().filter(|row| after.find(row).is_none()) {
            grid.push(cells("gone".to_owned(), Some(gone), None, gone));
        }
        for new in after.rows.iter().filter(|row| self.find(row).is_none()) {
            grid.push(cells("new".to_owned(), None, Some(new), new));
        }
        let text = grid.text();
        format!(
            "before: {}; mode {}\nafter:  {}; mode {}\n\n{text}",
            self.machine.line(),
            self.mode,
            after.machine.line(),
            after.mode
        )
    }

    /// The row that measured the same, in the same unit.
    fn find(&self, like: &Row) -> Option<&Row> {
        self.rows.iter().find(|row| row.subject() == like.subject() && row.unit == like.unit)
    }
}

/// After by before; nothing at all both times is no change.
fn ratio(before: &Row, after: &Row) -> f64 {
    let is_nothing = before.value.abs() + after.value.abs() < f64::EPSILON * f64::EPSILON;
    if is_nothing { 1.0 } else { after.value / before.value }
}

fn show(ratio: f64) -> String {
    if ratio.is_finite() { format!("{ratio:.2}") } else { "∞".to_owned() }
}

fn cells(ratio: String, before: Option<&Row>, after: Option<&Row>, of: &Row) -> Vec<String> {
    let shown = |row: Option<&Row>| row.map_or_else(String::new, |row| row.unit.show(row.value));
    vec![
        ratio,
        shown(before),
        shown(after),
        of.scenario.clone(),
        of.services.to_string(),
        of.endpoints.to_string(),
        of.measure.clone(),
        of.seen.word().to_owned(),
    ]
}
