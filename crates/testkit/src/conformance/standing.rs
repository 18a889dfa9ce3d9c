//! How a backend stands to a scenario, and the table of that.

use std::fmt::{self, Write as _};

use crate::scenario::{Check, LeftOut, Need, Scenario};

/// How a backend stands to a scenario, by what it declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It holds as a whole.
    Holds,
    /// It holds for the packets that are sent.
    InPart {
        /// How many are.
        sent: usize,
        /// How many the scenario has.
        of: usize,
    },
    /// It is not played, for this reason.
    LeftOut(String),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds => f.write_str("holds"),
            Self::InPart { sent, of } => write!(f, "holds for {sent} of {of} kinds of packet"),
            Self::LeftOut(reason) => write!(f, "left out: {reason}"),
        }
    }
}

impl Standing {
    /// To `original`, which the backend is to play as `played`.
    pub(super) fn of(original: &Scenario, played: &Scenario, unmet: &[Need]) -> Self {
        let lacking: Vec<_> =
            played.needs.iter().filter(|need| unmet.contains(need)).map(Need::to_string).collect();
        if !lacking.is_empty() {
            return Self::LeftOut(format!("needs {}", lacking.join(", ")));
        }
        let count =
            |scenario: &Scenario| checks(scenario).map(|check| check.packets().count()).sum::<usize>();
        let unsent = match played.left_out(unmet) {
            LeftOut::Packets(unsent) => unsent,
            LeftOut::Nothing | LeftOut::Everything => 0,
        };
        // An adapted scenario may have other packets; those it has not count as not sent.
        let (of, sent) = (count(original), count(played) - unsent);
        match sent {
            0 if of > 0 => Self::LeftOut("none of its packets can be sent".into()),
            _ if sent < of => Self::InPart { sent, of },
            _ => Self::Holds,
        }
    }
}

fn checks(scenario: &Scenario) -> impl Iterator<Item = &Check> {
    scenario.steps.iter().flat_map(|step| &step.checks)
}

/// Counts, and then a row for each scenario.
pub(super) fn table(standings: &[(&str, Standing)]) -> String {
    let count = |is: fn(&Standing) -> bool| standings.iter().filter(|(_, standing)| is(standing)).count();
    let whole = count(|standing| *standing == Standing::Holds);
    let in_part = count(|standing| matches!(standing, Standing::InPart { .. }));
    let left_out = count(|standing| matches!(standing, Standing::LeftOut(_)));
    let mut text = format!(
        "Of {} scenarios {whole} hold as a whole, {in_part} for some of their packets, and {left_out} are left out.\n\n\
         | scenario | standing |\n|---|---|\n",
        standings.len()
    );
    for (name, standing) in standings {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{name}` | {standing} |");
    }
    text
}

/// The lines of one text that the other has not, as `- gone` and `+ new`; nothing where the texts are the same.
pub(super) fn differing_lines(kept: &str, table: &str) -> String {
    let mut text = String::new();
    for (mark, lines, others) in [("-", kept, table), ("+", table, kept)] {
        for line in lines.lines().filter(|line| !others.lines().any(|other| other == *line)) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{mark} {line}");
        }
    }
    if text.is_empty() && kept != table {
        text.push_str("the same lines in another order, or other ends of lines\n");
    }
    text
}
