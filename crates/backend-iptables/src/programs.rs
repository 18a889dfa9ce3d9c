//! iptables' own programs: which there are, and running them.
//!
//! The kernel's tables can only be changed by them: those of iptables-legacy by nobody else, and those of
//! iptables-nft so that the programs understand them afterwards. One is found by its plain name and says
//! itself of which kind it is, so a host, or an image, decides that by its alternatives, as for kube-proxy.
//!
//! Input is written into a pipe while the program reads, and output is read line by line while it writes:
//! neither is ever held as a whole. A program that does not come to an end in time is killed. What it did
//! until then is either all of a table's section or nothing of it: an input that ends early changes nothing.
//!
//! Calls block. Programs run in the network namespace of the calling thread.

mod complaint;
mod error;
mod run;
mod version;

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portolan_core::backend::error_chain;
use portolan_core::{BackendError, IpFamily};
use portolan_host::{iptables, programs::find};
use portolan_leftovers::Part;

use crate::names::Table;
use crate::tables::Tables;

pub use error::ProgramError;
pub use portolan_leftovers::Variant;
pub use version::Version;

use complaint::judge;
use run::{Ended, Talk, run};

/// Waits so many seconds for others that hold the lock of the tables; what kube-proxy waits, too.
const WAIT: [&str; 2] = ["-w", "5"];

/// How long a program may take in all. A hundred thousand rules take iptables-nft a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// The oldest that is run: the first whose `iptables-restore` waits for the lock and that masquerades with
/// `--random-fully`. It is of 2018.
const OLDEST: Version = Version(1, 6, 2);

/// How many chains one input for iptables-nft should name.
///
/// It keeps them as a sorted list and goes through that for each line (`cache_chain_list_insert` of
/// iptables 1.8), so its time grows with the square: 30,000 chains take 50 s at once, and 4 s so many at a
/// time. Fewer take longer again, for the kernel checks the whole table with each input.
const CHAINS_AT_ONCE: usize = 1200;

/// The three programs that read and change the tables of one family.
#[derive(Debug, Clone)]
pub struct Programs {
    family: IpFamily,
    version: Version,
    variant: Variant,
    save: PathBuf,
    restore: PathBuf,
    patience: Duration,
}

impl Programs {
    /// Finds the programs that go by the plain names, `iptables` or `ip6tables`, in `PATH`.
    ///
    /// # Errors
    /// One is missing, does not run, or is too old.
    pub fn find(family: IpFamily) -> Result<Self, ProgramError> {
        Self::called(family, iptables::program(family))
    }

    /// Whether one family's programs are there, list a chain, and will do.
    ///
    /// # Errors
    /// What is missing, as a phrase behind "the host lacks".
    pub fn probe(family: IpFamily) -> Result<(), String> {
        iptables::probe(family).map_err(|missing| missing.to_string())?;
        let found = Self::find(family);
        found.map(drop).map_err(|error| format!("programs of iptables that will do: {}", error_chain(&error)))
    }

    /// Finds the programs of this kind by the names that say which they are, such as `ip6tables-legacy`.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn of_variant(family: IpFamily, variant: Variant) -> Result<Self, ProgramError> {
        Self::called(family, &format!("{}-{variant}", iptables::program(family)))
    }

    fn called(family: IpFamily, name: &str) -> Result<Self, ProgramError> {
        let path = |name: String| find(&name).ok_or(ProgramError::Missing { name });
        let main = path(name.to_owned())?;
        let (version, variant) = version(&main)?;
        let (save, restore) = (path(format!("{name}-save"))?, path(format!("{name}-restore"))?);
        Ok(Self { family, version, variant, save, restore, patience: PATIENCE })
    }

    /// The same, given so much time for each run.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The family whose tables they know.
    pub fn family(&self) -> IpFamily {
        self.family
    }

    /// Their version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Their kind.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// As [`Tables::restore`]; also gives the process id of the program, if it came to its end.
    pub(crate) fn restore_by(
        &self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> (Result<(), ProgramError>, Option<u32>) {
        let arguments = ["--noflush", WAIT[0], WAIT[1]];
        let talk: Talk<'_, ()> = Talk::Speak(&mut |input| {
            let mut input = BufWriter::with_capacity(1 << 16, input);
            write(&mut input)?;
            input.flush()
        });
        let ended = match self.run(&self.restore, &arguments, talk) {
            Ok(ended) => ended,
            Err(error) => return (Err(error), None),
        };
        let process = Some(ended.process);
        if !ended.status.success() {
            // A program that ends early leaves its input unread; its errors say why.
            return (Err(judge(&self.restore, &ended)), process);
        }
        let said = ended.said.map_err(|source| ProgramError::Run { program: self.restore.clone(), source });
        (said, process)
    }

    fn run<T>(
        &self,
        program: &Path,
        arguments: &[&str],
        talk: Talk<'_, T>,
    ) -> Result<Ended<T>, ProgramError> {
        run(program, arguments.iter().map(OsStr::new), talk, self.patience)
    }
}

/// The table of ours that iptables-nft says it cannot show. That it says in a remark, and ends with success.
fn hidden_table(line: &str) -> Option<Table> {
    let (name, rest) = line.strip_prefix("# Table `")?.split_once('\'')?;
    Table::parse(name).filter(|_| rest.contains("incompatible"))
}

/// What the program says it is.
fn version(program: &Path) -> Result<(Version, Variant), ProgramError> {
    let mut answer = String::new();
    let talk: Talk<'_, ()> = Talk::Listen(&mut |output| io::read_to_string(output).map(|text| answer = text));
    let ended = run(program, [OsStr::new("--version")], talk, PATIENCE)?;
    if !ended.status.success() {
        return Err(judge(program, &ended));
    }
    let program = || program.to_owned();
    match version::parse(&answer) {
        None => Err(ProgramError::Unversioned { program: program(), answer: answer.trim().to_owned() }),
        Some((version, _)) if version < OLDEST => {
            Err(ProgramError::TooOld { program: program(), version, oldest: OLDEST })
        }
        Some(found) => Ok(found),
    }
}

/// Removes all rules of this mode in one family: by kube-proxy's names, which are ours, and in the tables of
/// both kinds.
///
/// # Errors
/// Carries on past a failure and returns the first.
pub fn clean(family: IpFamily) -> Result<(), BackendError> {
    let mut first = Ok(());
    for outcome in portolan_leftovers::remove(&[Part::Iptables], &[family]) {
        for kept in &outcome.kept {
            tracing::warn!(%family, "kept {kept}");
        }
        if let Err(error) = outcome.result {
            let action = format!("remove the rules of iptables of {family}");
            first = first.and(Err(BackendError::io(action, error)));
        }
    }
    first
}

impl Tables for Programs {
    fn save(&mut self, each_line: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        let mut hidden = None;
        let talk: Talk<'_, ()> = Talk::Listen(&mut |output| {
            let mut output = BufReader::with_capacity(1 << 16, output);
            let mut bytes = Vec::new();
            while output.read_until(b'\n', &mut bytes)? > 0 {
                let line = String::from_utf8_lossy(&bytes);
                let line = line.trim_end_matches('\n');
                hidden = hidden.or_else(|| hidden_table(line));
                each_line(line);
                bytes.clear();
            }
            Ok(())
        });
        let ended = self.run(&self.save, &[], talk)?;
        if !ended.status.success() {
            return Err(judge(&self.save, &ended));
        }
        if let Some(table) = hidden {
            return Err(ProgramError::Incompatible { table });
        }
        ended.said.map_err(|source| ProgramError::Run { program: self.save.clone(), source })
    }

    fn restore(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError> {
        self.restore_by(write).0
    }

    fn clean(&mut self) -> Result<(), BackendError> {
        clean(self.family)
    }

    fn chains_at_once(&self) -> usize {
        match self.variant {
            Variant::Nft => CHAINS_AT_ONCE,
            // Each input costs a copy of the whole table to the program and back.
            Variant::Legacy => usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests;
