//! One apply: hands units to the tables, leaves out what is turned down, and keeps account.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Instant;

use portolan_core::ServicePortName;
use portolan_core::backend::{ApplyReport, BackendError, Metric};

use crate::compare::BaseChanges;
use crate::edit::Rules;
use crate::metrics::{RULES, RULES_WRITTEN};
use crate::names::Table;
use crate::programs::ProgramError;
use crate::restore::{Input, Written};
use crate::tables::Tables;
use crate::unit::{Phase, Unit};
use crate::writer::{OneLine, Writer};

/// How many inputs may be turned down in one apply before the rest is given up, too. Finding one line among
/// a thousand service ports takes ten of them if the program does not name it.
const MOST_FAILURES: usize = 100;

/// What could not be done.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was tried: `serve default/web:http tcp`.
    action: String,
    /// The line that was turned down.
    line: Option<String>,
    stage: Stage,
    source: ProgramError,
}

/// What was going on when something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Tables were read, and nothing has been written.
    Reading,
    /// Rules were written that all Services share.
    Base,
    /// The rest was written.
    Units,
}

impl Failure {
    /// `what` could not be read.
    pub(crate) fn of_reading(what: impl Into<String>, source: ProgramError) -> Self {
        Self { action: what.into(), line: None, stage: Stage::Reading, source }
    }

    /// Whether nothing was written.
    pub(crate) fn is_of_reading(&self) -> bool {
        self.stage == Stage::Reading
    }

    /// Whether rules were turned down that all Services share.
    pub(crate) fn is_of_shared_rules(&self) -> bool {
        self.stage == Stage::Base && self.is_of_input()
    }

    /// Whether another input may do better.
    pub(crate) fn is_of_input(&self) -> bool {
        self.source.is_of_input()
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        let Failure { action, line, stage, source } = failure;
        let action = match line {
            Some(line) => format!("{action} by `{line}`"),
            None => action,
        };
        match source {
            source @ ProgramError::Locked { .. } => Self::busy("the lock of iptables", source),
            source if stage == Stage::Reading => Self::unread(action, source),
            source @ ProgramError::Failed { .. } => Self::refused(action, source),
            source => Self::io(action, source),
        }
    }
}

/// What becomes of units that are turned down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusals {
    /// All stops at the first.
    Stop,
    /// They are left out.
    LeaveOut,
}

/// An apply that is going on.
#[derive(Debug)]
pub(crate) struct Session<'a, T> {
    tables: &'a mut T,
    writer: Writer<'a>,
    failures_left: usize,
    report: ApplyReport,
    written: Rules,
    refused: BTreeSet<ServicePortName>,
    first_refusal: Option<Failure>,
}

impl<'a, T: Tables> Session<'a, T> {
    pub(crate) fn new(tables: &'a mut T, writer: Writer<'a>, refusals: Refusals) -> Self {
        let failures_left = if refusals == Refusals::LeaveOut { MOST_FAILURES } else { 0 };
        Self {
            tables,
            writer,
            failures_left,
            report: ApplyReport::default(),
            written: Rules::default(),
            refused: BTreeSet::new(),
            first_refusal: None,
        }
    }

    /// Changes what is wrong besides service ports.
    pub(crate) fn base(&mut self, changes: &BaseChanges) -> Result<(), Failure> {
        for table in Table::ALL.into_iter().filter(|table| changes.concern(*table)) {
            let writer = self.writer;
            let mut written = Written::default();
            let began = Instant::now();
            let result = self.tables.restore(&mut |into| {
                let mut input = Input::new(into);
                writer.base(changes, table, &mut input);
                written = input.finish()?;
                Ok(())
            });
            let line = |number| line_of(number, |input| writer.base(changes, table, input));
            result.map_err(|source| Failure {
                action: format!("write the rules of table {table} that all Services share"),
                line: source.line().and_then(line),
                stage: Stage::Base,
                source,
            })?;
            // Rules in the kernel's chains are not counted.
            written.rules -= changes.jumps.iter().filter(|(of, _)| *of == table).count() as u64;
            self.account(table, written, began);
        }
        Ok(())
    }

    /// Makes these units true, phase by phase; those that are turned down are left out from then on.
    pub(crate) fn units(&mut self, mut units: Vec<Unit<'_>>) -> Result<(), Failure> {
        for phase in Phase::ALL {
            units = self.phase(phase, units)?;
        }
        Ok(())
    }

    /// Returns the units that were not turned down.
    fn phase<'u>(&mut self, phase: Phase, mut units: Vec<Unit<'u>>) -> Result<Vec<Unit<'u>>, Failure> {
        if !units.iter().any(|unit| unit.concerns(phase)) {
            return Ok(units);
        }
        let Err((source, culprit)) = self.restore(phase, &units) else { return Ok(units) };
        let text = |number| {
            line_of(number, |input| {
                self.writer.units(phase, &units, &self.refused, input);
            })
        };
        let line = source.line().and_then(text);
        if !source.is_of_input() || self.failures_left == 0 {
            let action = culprit.map_or_else(|| "change its rules".to_owned(), |unit| units[unit].action());
            return Err(Failure { action, line, stage: Stage::Units, source });
        }
        self.failures_left -= 1;
        match culprit {
            Some(culprit) => {
                let unit = units.remove(culprit);
                self.refuse(&unit, line, source);
                self.phase(phase, units)
            }
            None if units.len() == 1 => {
                self.refuse(&units.remove(0), None, source);
                Ok(units)
            }
            None => {
                let rest = units.split_off(units.len() / 2);
                let mut left = self.phase(phase, units)?;
                left.extend(self.phase(phase, rest)?);
                Ok(left)
            }
        }
    }

    /// Hands one phase over. If it fails, says which unit is to blame, if that is known.
    fn restore(&mut self, phase: Phase, units: &[Unit<'_>]) -> Result<(), (ProgramError, Option<usize>)> {
        let (writer, refused) = (self.writer, &self.refused);
        let (mut written, mut origins) = (Written::default(), None);
        let began = Instant::now();
        let result = self.tables.restore(&mut |into| {
            let mut input = Input::new(into);
            origins = Some(writer.units(phase, units, refused, &mut input));
            written = input.finish()?;
            Ok(())
        });
        match result {
            Ok(()) => {
                self.account(phase.table(), written, began);
                Ok(())
            }
            Err(error) => {
                let culprit = error.line().zip(origins).and_then(|(line, origins)| origins.unit_at(line));
                Err((error, culprit))
            }
        }
    }

    fn account(&mut self, table: Table, written: Written, began: Instant) {
        let report = &mut self.report;
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        // Each section begins and ends with a line that changes nothing.
        report.operations += count(written.lines).saturating_sub(2);
        report.transactions += 1;
        report.messages += count(written.lines);
        report.bytes += count(written.bytes);
        report.longest_transaction = report.longest_transaction.max(began.elapsed());
        match table {
            Table::Mangle => {}
            Table::Filter => self.written.filter += count(written.rules),
            Table::Nat => self.written.nat += count(written.rules),
        }
    }

    fn refuse(&mut self, unit: &Unit<'_>, line: Option<String>, source: ProgramError) {
        let action = unit.action();
        if let Unit::Chain(chain) = unit {
            // Others' rules lead there, or those of a service port that was turned down.
            self.report.failed_removals += 1;
            return tracing::warn!(%chain, error = %source, "a chain that no Service has is still in use, and stays");
        }
        tracing::warn!(
            action,
            line = line.as_deref().unwrap_or("unknown"),
            error = %source,
            "left out what was turned down; all else goes on"
        );
        self.refused.extend(unit.port().cloned());
        self.first_refusal.get_or_insert(Failure { action, line, stage: Stage::Units, source });
    }

    /// Whether this service port was turned down.
    pub(crate) fn has_refused(&self, port: &ServicePortName) -> bool {
        self.refused.contains(port)
    }

    /// What was done, unless anything was turned down; `held` is how many rules there are now.
    pub(crate) fn finish(mut self, held: Rules) -> Result<ApplyReport, Failure> {
        let Some(mut failure) = self.first_refusal else {
            let tables = [("filter", held.filter, self.written.filter), ("nat", held.nat, self.written.nat)];
            self.report.metrics.extend(tables.into_iter().flat_map(|(table, held, written)| {
                [(RULES, held), (RULES_WRITTEN, written)].map(|(name, rules)| {
                    Metric::gauge(name, u64::try_from(rules).unwrap_or(u64::MAX)).with_label("table", table)
                })
            }));
            return Ok(self.report);
        };
        if self.refused.len() > 1 {
            failure.action = format!("{} and {} other service ports", failure.action, self.refused.len() - 1);
        }
        Err(failure)
    }
}

/// The line of this number of what is written.
fn line_of(number: u64, write: impl FnOnce(&mut Input<&mut dyn Write>)) -> Option<String> {
    let mut one = OneLine::new(number);
    let into: &mut dyn Write = &mut one;
    write(&mut Input::new(into));
    one.text()
}
