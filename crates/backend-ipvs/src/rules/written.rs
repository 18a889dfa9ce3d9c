//! What there is of our rules, as the program prints them.
//!
//! The program spells rules in its own way, so what it printed after we wrote is what it must print again for
//! nobody to have changed anything.

use super::{Jump, Table};

/// The lines about our chains, with their tables, in the order in which they are printed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Written {
    lines: Vec<(&'static str, String)>,
}

impl Written {
    /// Begins to read.
    pub(crate) fn reader(tables: &[Table]) -> Reader<'_> {
        Reader { tables, current: None, written: Self::default() }
    }

    /// Whether the way into one of our chains is there.
    pub(crate) fn has(&self, table: &str, jump: &Jump) -> bool {
        let (begin, end) = (format!("-A {} ", jump.from), format!(" -j {}", jump.to));
        let is_it = |line: &str| line.starts_with(&begin) && line.ends_with(&end);
        self.lines.iter().any(|(of, line)| *of == table && is_it(line))
    }
}

/// Takes lines in and keeps those about our chains.
pub(crate) struct Reader<'a> {
    tables: &'a [Table],
    current: Option<&'a Table>,
    written: Written,
}

impl Reader<'_> {
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix('*') {
            self.current = self.tables.iter().find(|table| table.name == name);
            return;
        }
        let Some(table) = self.current else { return };
        let is_ours = |name: &str| table.chains.iter().any(|(chain, _)| *chain == name);
        let mut words = line.split(' ');
        let kept = match words.next() {
            // A chain, with counters of no meaning.
            Some(word) if word.starts_with(':') => is_ours(&word[1..]).then(|| word.to_owned()),
            Some("-A") => {
                let is_in_ours = words.next().is_some_and(is_ours);
                let leads_to_ours = line.rsplit(' ').next().is_some_and(is_ours);
                (is_in_ours || leads_to_ours).then(|| line.to_owned())
            }
            _ => None,
        };
        self.written.lines.extend(kept.map(|line| (table.name, line)));
    }

    pub(crate) fn finish(self) -> Written {
        self.written
    }
}
