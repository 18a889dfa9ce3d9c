//! A fake kernel that runs input of `iptables-restore --noflush` as strictly as the real one.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use portolan_backend_iptables::names::{BuiltIn, Chain, Table};
use portolan_backend_iptables::programs::ProgramError;
use portolan_backend_iptables::rule::{parse, words};
use portolan_backend_iptables::tables::Tables;
use portolan_core::BackendError;

/// Chains with their rules, which are words in the order in which we write them.
pub(crate) type Chains = BTreeMap<String, Vec<String>>;

/// The tables of one family.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) tables: BTreeMap<&'static str, Chains>,
    /// Lines that contain this are rejected.
    pub(crate) refused: Option<String>,
    /// Whether errors name the line.
    pub(crate) is_silent: bool,
    /// So many sections take effect; then the program is killed.
    pub(crate) dies_after: Option<usize>,
    /// What the next calls answer instead of doing anything.
    pub(crate) failures: Vec<fn() -> ProgramError>,
    /// The inputs that were carried out.
    pub(crate) inputs: Vec<String>,
}

/// A handle to it; all see the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fake {
    kernel: Arc<Mutex<Kernel>>,
    chains_at_once: Option<usize>,
}

impl Fake {
    pub(crate) fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.kernel.lock().unwrap()
    }

    /// Asks for inputs that name so many chains at most.
    pub(crate) fn with_chains_at_once(self, count: usize) -> Self {
        Self { chains_at_once: Some(count), ..self }
    }
}

pub(crate) fn locked() -> ProgramError {
    ProgramError::Locked { complaint: "Another app is currently holding the xtables lock.".into() }
}

pub(crate) fn out_of_memory() -> ProgramError {
    let (program, status) = ("iptables-restore".into(), ExitStatus::from_raw(4 << 8));
    ProgramError::Resource { program, status, complaint: "Cannot allocate memory".into() }
}

fn killed() -> ProgramError {
    ProgramError::TimedOut { program: "iptables-restore".into(), limit: Duration::from_secs(1) }
}

impl Kernel {
    /// All rules, in order, without the chains of the kernel that have none.
    pub(crate) fn rules(&self) -> BTreeMap<(&'static str, &str), &[String]> {
        let chains = self.tables.iter().flat_map(|(table, chains)| {
            chains.iter().map(move |(chain, rules)| ((*table, chain.as_str()), rules.as_slice()))
        });
        chains.filter(|((_, chain), rules)| !is_built_in(chain) || !rules.is_empty()).collect()
    }

    /// Runs input of any process.
    pub(crate) fn restore(&mut self, input: &str) -> Result<(), ProgramError> {
        let mut section: Option<(&'static str, Chains)> = None;
        let mut committed = 0;
        for (number, line) in (1..).zip(input.lines()) {
            let fails = |complaint: &str| ProgramError::Failed {
                program: "iptables-restore".into(),
                line: (!self.is_silent).then_some(number),
                complaint: format!("{complaint}: {line}"),
            };
            if self.refused.as_ref().is_some_and(|refused| line.contains(refused.as_str())) {
                return Err(fails("refused"));
            }
            match (line.split_once(' ').unwrap_or((line, "")), &mut section) {
                (("COMMIT", ""), section) => {
                    if self.dies_after == Some(committed) {
                        return Err(killed());
                    }
                    let (table, chains) = section.take().ok_or_else(|| fails("no table"))?;
                    self.tables.insert(table, chains);
                    committed += 1;
                }
                ((name, ""), section) if name.starts_with('*') => {
                    let table = Table::parse(&name[1..]).ok_or_else(|| fails("no such table"))?.as_str();
                    *section = Some((table, self.tables.get(table).cloned().unwrap_or_else(built_in)));
                }
                ((verb, rest), Some((_, chains))) => {
                    carry_out(verb, rest, chains).map_err(|complaint| fails(&complaint))?;
                }
                _ => return Err(fails("not understood")),
            }
        }
        assert!(section.is_none(), "COMMIT expected");
        Ok(())
    }
}

fn built_in() -> Chains {
    BuiltIn::ALL.iter().map(|chain| (chain.as_str().to_owned(), Vec::new())).collect()
}

fn is_built_in(name: &str) -> bool {
    matches!(Chain::parse(name), Some(Chain::BuiltIn(_)))
}

fn carry_out(verb: &str, rest: &str, chains: &mut Chains) -> Result<(), String> {
    let (name, rule) = rest.split_once(' ').unwrap_or((rest, ""));
    if let Some(name) = verb.strip_prefix(':') {
        chains.insert(name.to_owned(), Vec::new());
        return Ok(());
    }
    let target = rule.rsplit_once(" -j ").map(|(_, target)| target);
    let leads_nowhere =
        target.is_some_and(|target| target.starts_with("KUBE-") && !chains.contains_key(target));
    if verb != "-D" && leads_nowhere {
        return Err("no such target".into());
    }
    let is_led_to = || chains.values().flatten().any(|rule| rule.ends_with(&format!(" -j {name}")));
    if verb == "-X" {
        if !chains.get(name).ok_or("no such chain")?.is_empty() || is_built_in(name) || is_led_to() {
            return Err("in use".into());
        }
        chains.remove(name);
        return Ok(());
    }
    let rules = chains.get_mut(name).ok_or("no such chain")?;
    let rule = spelled(rule);
    match verb {
        "-A" => rules.push(rule),
        "-I" => rules.insert(0, rule),
        "-D" => {
            let place = rules.iter().position(|other| *other == rule).ok_or("no such rule")?;
            rules.remove(place);
        }
        _ => return Err("no such verb".into()),
    }
    Ok(())
}

/// In one way, however it was written; what is no rule of ours as it is.
fn spelled(rule: &str) -> String {
    let mut buffer = Vec::new();
    let read = words(rule, &mut buffer).and_then(parse);
    read.map_or_else(|| format!(" {rule}"), |read| read.to_string())
}

impl Tables for Fake {
    fn save(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        let mut kernel = self.kernel();
        if let Some(failure) = kernel.failures.pop() {
            return Err(failure());
        }
        for (table, chains) in &kernel.tables {
            each_line(&format!("*{table}"));
            for chain in chains.keys() {
                let policy = if is_built_in(chain) { "ACCEPT" } else { "-" };
                each_line(&format!(":{chain} {policy} [0:0]"));
            }
            for (chain, rules) in chains {
                for rule in rules {
                    each_line(&format!("-A {chain}{rule}"));
                }
            }
            each_line("COMMIT");
        }
        Ok(())
    }

    fn restore(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError> {
        let mut input = Vec::new();
        write(&mut input).unwrap();
        let input = String::from_utf8(input).unwrap();
        let mut kernel = self.kernel();
        if let Some(failure) = kernel.failures.pop() {
            return Err(failure());
        }
        kernel.restore(&input)?;
        kernel.inputs.push(input);
        Ok(())
    }

    fn clean(&mut self) -> Result<(), BackendError> {
        self.kernel().tables.clear();
        Ok(())
    }

    fn chains_at_once(&self) -> usize {
        self.chains_at_once.unwrap_or(usize::MAX)
    }
}
