//! One apply in progress: restores tables, leaves out what is rejected, and fills the report.

use std::collections::BTreeSet;
use std::time::Instant;

use portolan_core::ServicePortName;
use portolan_core::backend::{ApplyReport, BackendError, Metric};

use crate::edit::{Edit, Pass, RuleCounts};
use crate::names::Table;
use crate::programs::ProgramError;
use crate::restore::Lines;
use crate::tables::Tables;

/// kube-proxy's metrics of rules in the chains of the proxy, and of rules that the last sync wrote.
const RULES: &str = "kubeproxy_sync_proxy_rules_iptables_total";
const RULES_WRITTEN: &str = "kubeproxy_sync_proxy_rules_iptables_last";

/// How many inputs may be rejected in one apply before it fails as a whole. To find one line among a thousand
/// service ports takes ten of them if the program does not name it.
const MAX_REJECTIONS: usize = 100;

/// The most text that one input has, unless one service port needs more, in bytes. It is held until the input has
/// been accepted.
const MAX_INPUT: usize = 2 << 20;

/// What failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was tried: `serve default/web:http tcp`.
    action: String,
    /// The line that was rejected.
    line: Option<String>,
    stage: Stage,
    source: ProgramError,
}

/// When something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// While tables were read, and nothing was written.
    Read,
    /// While rules were written that all service ports need.
    Base,
    /// While the rest was written.
    Edits,
}

impl Failure {
    /// The tables could not be read.
    pub(crate) fn of_reading(source: ProgramError) -> Self {
        Self { action: "the tables of iptables".to_owned(), line: None, stage: Stage::Read, source }
    }

    /// Whether nothing was written.
    pub(crate) fn is_of_reading(&self) -> bool {
        self.stage == Stage::Read
    }

    /// Whether rules were rejected that all service ports need.
    pub(crate) fn is_of_base_rules(&self) -> bool {
        self.stage == Stage::Base && self.is_of_input()
    }

    /// Whether another input may be accepted.
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
            source if stage == Stage::Read => Self::unread(action, source),
            source @ ProgramError::Failed { .. } => Self::refused(action, source),
            source => Self::io(action, source),
        }
    }
}

/// What happens to edits that are rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnRejection {
    /// The apply fails.
    Stop,
    /// They are left out.
    LeaveOut,
}

/// An apply in progress.
#[derive(Debug)]
pub(crate) struct Apply<'a, 'p, T> {
    tables: &'a mut T,
    pending: Vec<Edit<'p>>,
    /// Chains and bytes in the lines of `pending`.
    pending_size: (usize, usize),
    rejections_left: usize,
    report: ApplyReport,
    written: RuleCounts,
    rejected: BTreeSet<ServicePortName>,
    first_rejection: Option<Failure>,
}

impl<'a, 'p, T: Tables> Apply<'a, 'p, T> {
    pub(crate) fn new(tables: &'a mut T, on_rejection: OnRejection) -> Self {
        let rejections_left = if on_rejection == OnRejection::LeaveOut { MAX_REJECTIONS } else { 0 };
        Self {
            tables,
            pending: Vec::new(),
            pending_size: (0, 0),
            rejections_left,
            report: ApplyReport::default(),
            written: RuleCounts::default(),
            rejected: BTreeSet::new(),
            first_rejection: None,
        }
    }

    /// Writes what all service ports need in one table.
    pub(crate) fn base(&mut self, table: Table, lines: &Lines) -> Result<(), Failure> {
        let texts = [lines.as_str()];
        self.restore(table, &texts).map_err(|source| Failure {
            action: format!("write the rules of table {table} that all Services share"),
            line: rejected_line(&source, &texts).map(|(_, line)| line),
            stage: Stage::Base,
            source,
        })
    }

    /// Adds an edit, and writes those before it if an input of all of them would be too long.
    pub(crate) fn add(&mut self, edit: Edit<'p>) -> Result<(), Failure> {
        let (chains, bytes) = self.pending_size;
        let (chains, bytes) = (chains + edit.chains, bytes + edit.size());
        if chains > self.tables.chains_at_once() || bytes > MAX_INPUT {
            self.flush()?;
        }
        self.pending_size = (self.pending_size.0 + edit.chains, self.pending_size.1 + edit.size());
        self.pending.push(edit);
        Ok(())
    }

    /// Writes the edits that were added, pass by pass. Those that are rejected are left out of later passes.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let mut edits = std::mem::take(&mut self.pending);
        self.pending_size = (0, 0);
        for pass in Pass::ALL {
            edits = self.write(pass, edits)?;
        }
        Ok(())
    }

    /// Returns the edits that were not rejected.
    fn write(&mut self, pass: Pass, mut edits: Vec<Edit<'p>>) -> Result<Vec<Edit<'p>>, Failure> {
        let texts: Vec<_> = edits.iter().map(|edit| edit.lines(pass)).collect();
        if texts.iter().all(|text| text.is_empty()) {
            return Ok(edits);
        }
        let Err(source) = self.restore(pass.table(), &texts) else { return Ok(edits) };
        let (index, line) = rejected_line(&source, &texts).unzip();
        if !source.is_of_input() || self.rejections_left == 0 {
            let action = index.map_or_else(|| "change its rules".to_owned(), |index| edits[index].action());
            return Err(Failure { action, line, stage: Stage::Edits, source });
        }
        self.rejections_left -= 1;
        if let Some(index) = index.or_else(|| (edits.len() == 1).then_some(0)) {
            self.reject(&edits.remove(index), line, source);
            return self.write(pass, edits);
        }
        // By bisection.
        let rest = edits.split_off(edits.len() / 2);
        let mut accepted = self.write(pass, edits)?;
        accepted.extend(self.write(pass, rest)?);
        Ok(accepted)
    }

    /// Restores one table.
    fn restore(&mut self, table: Table, texts: &[&str]) -> Result<(), ProgramError> {
        let began = Instant::now();
        self.tables.restore(&mut |input| {
            writeln!(input, "*{table}")?;
            texts.iter().try_for_each(|text| input.write_all(text.as_bytes()))?;
            writeln!(input, "COMMIT")
        })?;
        let lines = || texts.iter().flat_map(|text| text.lines());
        let (count, size) = (lines().count(), texts.iter().map(|text| text.len()).sum::<usize>());
        let report = &mut self.report;
        report.operations += count;
        report.transactions += 1;
        report.messages += count + 2;
        report.bytes += size + format!("*{table}\nCOMMIT\n").len();
        report.longest_transaction = report.longest_transaction.max(began.elapsed());
        // Rules in built-in chains do not count.
        let is_rule = |line: &&str| line.starts_with("-A KUBE-") || line.starts_with("-I KUBE-");
        self.written.add(table, lines().filter(is_rule).count());
        Ok(())
    }

    fn reject(&mut self, edit: &Edit<'_>, line: Option<String>, source: ProgramError) {
        if let Some(chain) = edit.removed_chain() {
            // Rules of others jump to it, or those of a service port that was rejected.
            self.report.failed_removals += 1;
            return tracing::warn!(%chain, err = %source, "Stale chain is still in use and was kept");
        }
        let action = edit.action();
        tracing::warn!(
            action,
            line = line.as_deref().unwrap_or("unknown"),
            err = %source,
            "Rule was rejected and left out; all other rules are written"
        );
        self.rejected.extend(edit.service_port().cloned());
        self.first_rejection.get_or_insert(Failure { action, line, stage: Stage::Edits, source });
    }

    /// The service ports that were rejected.
    pub(crate) fn rejected(&self) -> &BTreeSet<ServicePortName> {
        &self.rejected
    }

    /// The report, unless anything was rejected; `held` is how many rules there are now.
    pub(crate) fn finish(mut self, held: RuleCounts) -> Result<ApplyReport, Failure> {
        self.flush()?;
        let Some(mut failure) = self.first_rejection else {
            let tables = [("filter", held.filter, self.written.filter), ("nat", held.nat, self.written.nat)];
            for (table, held, written) in tables {
                let metrics = [(RULES, held), (RULES_WRITTEN, written)];
                let gauge = |(name, rules)| Metric::gauge(name, rules).with_label("table", table);
                self.report.metrics.extend(metrics.map(gauge));
            }
            return Ok(self.report);
        };
        if self.rejected.len() > 1 {
            failure.action =
                format!("{} and {} other service ports", failure.action, self.rejected.len() - 1);
        }
        Err(failure)
    }
}

/// The line that a program rejected, if it names one, and the index of the text that has it.
fn rejected_line(source: &ProgramError, texts: &[&str]) -> Option<(usize, String)> {
    // Lines are counted from one, and the first names the table.
    let mut left = usize::try_from(source.line()?).ok()?.checked_sub(2)?;
    for (index, text) in texts.iter().enumerate() {
        if let Some(line) = text.lines().nth(left) {
            return Some((index, line.to_owned()));
        }
        left -= text.lines().count();
    }
    None
}
