//! A run that is kept beside the documentation: its figures, a page to read, and its curves.
//!
//! A whole run takes long, so it may be put together from several: figures of the same scenario at the same size
//! take the place of older ones.

use std::path::Path;

use anyhow::Context as _;

use super::{Report, Row};

/// The file that holds the [`Report`].
const FIGURES: &str = "run.json";
/// The page.
const PAGE: &str = "run.md";

impl Report {
    /// The run that is kept in `folder` with this one's figures in it, or this one alone if none is kept there.
    ///
    /// Figures of different machines, modes or versions are not mixed.
    pub(crate) fn added_to(self, folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FIGURES);
        if !path.exists() {
            return Ok(self);
        }
        let mut kept = Self::read_json(&path)?;
        anyhow::ensure!(
            kept.machine == self.machine && kept.mode == self.mode,
            "{} is of another machine, mode or version; remove it to begin anew",
            path.display()
        );
        kept.add(self.rows);
        Ok(kept)
    }

    fn add(&mut self, rows: Vec<Row>) {
        fn cluster(row: &Row) -> (&str, u32, u32) {
            (&row.scenario, row.services, row.endpoints)
        }
        self.rows.retain(|old| !rows.iter().any(|new| cluster(new) == cluster(old)));
        self.rows.extend(rows);
        let mut scenarios: Vec<String> = Vec::new();
        for row in &self.rows {
            if !scenarios.contains(&row.scenario) {
                scenarios.push(row.scenario.clone());
            }
        }
        let place = |name: &String| scenarios.iter().position(|scenario| scenario == name);
        self.rows.sort_by_key(|row| (place(&row.scenario), row.services, row.endpoints));
    }

    /// Keeps this run in `folder`.
    pub(crate) fn keep(&self, folder: &Path) -> anyhow::Result<()> {
        self.write_curves(folder)?;
        self.write_json(&folder.join(FIGURES))?;
        let page = folder.join(PAGE);
        std::fs::write(&page, self.page()).with_context(|| format!("cannot write {}", page.display()))
    }

    fn page(&self) -> String {
        let pictures = self.pictures().map(|(file, title)| format!("![{title}]({file})\n"));
        let missed: Vec<String> =
            self.rows.iter().filter(|row| row.is_met() == Some(false)).map(miss).collect();
        let missed = if missed.is_empty() { "none\n".to_owned() } else { missed.concat() };
        format!(
            "# A run of the benchmarks\n\n\
            Written by `tests/bench/run.sh --into FOLDER`, and not by hand; with `--scenario all` it measures \
            everything that is here. Read ratios: machines differ.\n\n\
            {}\n## Targets that were missed\n\n{missed}\n## All figures\n\n{}",
            pictures.collect::<String>(),
            self.markdown()
        )
    }
}

fn miss(row: &Row) -> String {
    let target = row.target.map_or_else(String::new, |target| row.unit.show(target));
    format!(
        "* {}, {} services and {} endpoints: {} ({}) is {}, not {target}\n",
        row.scenario,
        row.services,
        row.endpoints,
        row.measure,
        row.seen.word(),
        row.unit.show(row.value),
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn newer_figures_of_a_scenario_at_one_size_take_the_place_of_all_older_ones() {
        let mut kept = sample();
        let at = |row: &Row| row.scenario == "step" && row.services == 10_000;
        let (of_it, others): (Vec<Row>, Vec<Row>) = sample().rows.into_iter().partition(at);
        assert!(of_it.len() > 1);
        let newer = Row { value: 7.0, ..of_it[0].clone() };
        kept.add(vec![newer.clone()]);
        assert_eq!(kept.rows.len(), others.len() + 1);
        let steps: Vec<u32> =
            kept.rows.iter().filter(|row| row.scenario == "step").map(|row| row.services).collect();
        assert!(steps.is_sorted() && kept.rows.contains(&newer), "{steps:?}");
    }

    #[test]
    fn a_run_that_is_kept_in_parts_is_read_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = sample().rows.into_iter().partition(|row| row.scenario == "memory");
        for rows in [first, second] {
            let report = Report { rows, ..sample() }.added_to(folder.path()).unwrap();
            report.keep(folder.path()).unwrap();
        }
        let kept = Report::read_json(&folder.path().join(FIGURES)).unwrap();
        assert_eq!(kept.rows.len(), sample().rows.len());
        let page = std::fs::read_to_string(folder.path().join(PAGE)).unwrap();
        assert!(page.contains("(memory.svg)") && page.contains("| memory "), "{page}");
        assert!(page.contains("p99 (outside) is 1.24 ms, not 1.00 ms"), "{page}");
    }

    #[test]
    fn runs_of_different_modes_are_not_mixed() {
        let folder = tempfile::tempdir().unwrap();
        sample().keep(folder.path()).unwrap();
        let other = Report { mode: "iptables".to_owned(), ..sample() };
        assert!(other.added_to(folder.path()).is_err());
    }
}
