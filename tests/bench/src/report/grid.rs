//! Cells in aligned columns, as plain text or as Markdown.

/// To which side a column's cells are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// A table under construction. Rows have as many cells as there are columns.
pub(super) struct Grid {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub(super) fn new(columns: &[(&'static str, Side)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn push(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Columns with two blanks between them.
    pub(super) fn text(&self) -> String {
        self.lines().map(|cells| self.aligned(&cells)).collect()
    }

    /// The same in groups: a row whose first cell is not empty begins one, and stands apart by an empty line.
    pub(super) fn grouped_text(&self) -> String {
        let aligned = |(number, cells): (usize, Vec<String>)| {
            let gap = if number > 0 && !cells[0].is_empty() { "\n" } else { "" };
            format!("{gap}{}", self.aligned(&cells))
        };
        self.lines().enumerate().map(aligned).collect()
    }

    fn aligned(&self, cells: &[String]) -> String {
        let padded: Vec<_> = self.padded(cells).collect();
        format!("{}\n", padded.join("  ").trim_end())
    }

    /// A table as GitHub's Markdown has it, aligned in the source too.
    pub(super) fn markdown(&self) -> String {
        let rule = |(column, width): (&(&str, Side), usize)| match column.1 {
            Side::Left => "-".repeat(width),
            Side::Right => "-".repeat(width.saturating_sub(1)) + ":",
        };
        let rule: Vec<_> = self.columns.iter().zip(self.widths()).map(rule).collect();
        let mut lines: Vec<_> =
            self.lines().map(|cells| self.padded(&cells).collect::<Vec<_>>().join(" | ")).collect();
        lines.insert(1, rule.join(" | "));
        format!("| {} |\n", lines.join(" |\n| "))
    }

    /// The titles, then the rows.
    fn lines(&self) -> impl Iterator<Item = Vec<String>> {
        let titles = self.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        std::iter::once(titles).chain(self.rows.iter().cloned())
    }

    fn padded(&self, cells: &[String]) -> impl Iterator<Item = String> {
        let cells = self.columns.iter().zip(self.widths()).zip(cells);
        cells.map(|(((_, side), width), cell)| match side {
            Side::Left => format!("{cell:<width$}"),
            Side::Right => format!("{cell:>width$}"),
        })
    }

    /// In characters, which is what `format!` pads by.
    fn widths(&self) -> impl Iterator<Item = usize> {
        let cells = |column: usize| self.rows.iter().map(move |row| row[column].chars().count());
        let titles = self.columns.iter().enumerate();
        titles
            .map(move |(column, (title, _))| cells(column).chain([title.len(), 3]).max().unwrap_or_default())
    }
}
