//! Finds and runs the programs of iptables.
//!
//! The kernel's tables can only be changed by them: no other interface exists for those of iptables-legacy, and those
//! of iptables-nft must be understood by the programs afterwards. A program is found by its plain name and prints its
//! variant. So the alternatives of the host or of the image decide, as for kube-proxy.
//!
//! Input is written into a pipe while the program reads, and output is read line by line while it writes:
//! neither is ever held as a whole. A program that does not end in time is killed. What it did
//! until then is either all of a table's section or nothing of it: an input that ends early changes nothing.
//!
//! Calls block. Programs run in the network namespace of the calling thread.

mod error;

use std::fmt;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portolan_core::IpFamily;
use portolan_core::backend::error_chain;

pub use error::ProgramError;

use crate::names::Table;
use crate::run::{Ended, Pipe, find, run};

/// Waits so many seconds for others that hold the lock of the tables, as kube-proxy does.
const WAIT: [&str; 2] = ["-w", "5"];

/// The time limit of a program. A hundred thousand rules take iptables-nft a minute.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// The time limit of a program that only lists one chain: twice the wait for the lock.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// The oldest version that is supported: the first whose `iptables-restore` waits for the lock and that masquerades
/// with `--random-fully`. It is of 2018.
const OLDEST: Version = Version(1, 6, 2);

/// The longest line that is read, in bytes. Those of rules are a tenth of it.
const LONGEST_LINE: u64 = 1 << 16;

/// A version, such as 1.8.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The two variants of iptables, which keep their rules in different places of the kernel: both can hold rules
/// at once, and packets traverse them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// iptables-nft, whose tables are nf_tables'.
    Nft,
    /// iptables-legacy, which has its own.
    Legacy,
}

impl Variant {
    /// The other variant.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Nft => Self::Legacy,
            Self::Legacy => Self::Nft,
        }
    }
}

/// As names of programs end: `nft` or `legacy`.
impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        })
    }
}

/// The programs that read and change the tables of one family.
#[derive(Debug, Clone)]
pub struct Programs {
    family: IpFamily,
    variant: Variant,
    save: PathBuf,
    restore: PathBuf,
    time_limit: Duration,
}

impl Programs {
    /// Finds the programs that go by the plain names, `iptables` or `ip6tables`, in `PATH`.
    ///
    /// # Errors
    /// One is missing, does not run, or is too old.
    pub fn find(family: IpFamily) -> Result<Self, ProgramError> {
        Self::named(family, plain_name(family)).map(|(programs, _)| programs)
    }

    /// As [`find`](Self::find); also gives their version.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_with_version(family: IpFamily) -> Result<(Self, Version), ProgramError> {
        Self::named(family, plain_name(family))
    }

    /// Finds the programs of this variant by the names that include it, such as `ip6tables-legacy`.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn of_variant(family: IpFamily, variant: Variant) -> Result<Self, ProgramError> {
        let found = Self::named(family, &format!("{}-{variant}", plain_name(family)));
        found.map(|(programs, _)| programs)
    }

    /// Finds programs of iptables-legacy of any version: by the names that include the variant, or else by the plain
    /// names if those programs are of it.
    ///
    /// # Errors
    /// There are none.
    pub fn legacy(family: IpFamily) -> Result<Self, ProgramError> {
        let name = plain_name(family);
        let is_legacy =
            || matches!(find(name).map(|program| version(&program)), Some(Ok((_, Variant::Legacy))));
        match Self::pair(family, Variant::Legacy, &format!("{name}-legacy")) {
            Err(missing) if is_legacy() => {
                Self::pair(family, Variant::Legacy, name).map_err(|_plain| missing)
            }
            found => found,
        }
    }

    fn named(family: IpFamily, name: &str) -> Result<(Self, Version), ProgramError> {
        let (version, variant) = version(&find_program(name)?)?;
        if version < OLDEST {
            return Err(ProgramError::TooOld { name: name.to_owned(), version, oldest: OLDEST });
        }
        Ok((Self::pair(family, variant, name)?, version))
    }

    fn pair(family: IpFamily, variant: Variant, name: &str) -> Result<Self, ProgramError> {
        let program = |action| find_program(&format!("{name}-{action}"));
        Ok(Self {
            family,
            variant,
            save: program("save")?,
            restore: program("restore")?,
            time_limit: TIME_LIMIT,
        })
    }

    /// The same with another time limit for each run.
    #[must_use]
    pub fn with_time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// The family whose tables they read and change.
    pub fn family(&self) -> IpFamily {
        self.family
    }

    /// Their variant.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Passes on each line that `iptables-save` prints, of all tables that exist.
    ///
    /// # Errors
    /// The tables could not be read to their end.
    pub fn save(&self, each_line: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        let mut hidden = None;
        let mut read = |output: &mut dyn Read| {
            each_line_of(output, |line| {
                hidden = hidden.or_else(|| hidden_table(line));
                each_line(line);
            })
        };
        let ended = run(&self.save, &[], Pipe::Output(&mut read), self.time_limit)?;
        checked(&self.save, ended)?;
        hidden.map_or(Ok(()), |table| Err(ProgramError::Incompatible { table }))
    }

    /// Carries out what `write` writes, as `iptables-restore --noflush` does: each table's section takes effect
    /// at once at its `COMMIT`, or else it and all after it change nothing.
    ///
    /// # Errors
    /// A line was rejected, which the error names if that is known; or nothing could be done.
    pub fn restore(
        &self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), ProgramError> {
        self.restore_by(write).0
    }

    /// As [`restore`](Self::restore); also gives the process id of the program, if it ended by itself.
    pub fn restore_by(
        &self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> (Result<(), ProgramError>, Option<u32>) {
        let arguments = ["--noflush", WAIT[0], WAIT[1]];
        let mut write = |input: &mut dyn Write| {
            let mut input = BufWriter::with_capacity(1 << 16, input);
            write(&mut input)?;
            input.flush()
        };
        match run(&self.restore, &arguments, Pipe::Input(&mut write), self.time_limit) {
            Ok(ended) => {
                let process = ended.process;
                (checked(&self.restore, ended), Some(process))
            }
            Err(error) => (Err(error), None),
        }
    }
}

/// Whether rules of a family can be written with the programs that go by the plain names, as kube-proxy does:
/// whether the chain `POSTROUTING` of the table `nat` can be listed, and the version is supported.
///
/// # Errors
/// What is missing, as a phrase behind "the host lacks".
pub fn probe(family: IpFamily) -> Result<(), String> {
    let name = plain_name(family);
    let program = find(name).ok_or_else(|| format!("the program {name}, which is not in PATH"))?;
    list_chain(&program, PROBE_LIMIT)?;
    let found = Programs::find(family);
    found.map(drop).map_err(|error| format!("a supported version of iptables: {}", error_chain(&error)))
}

/// Whether rules of any family can be written. One is enough, as for kube-proxy: the other may be disabled in the
/// kernel.
///
/// # Errors
/// What is missing for IPv4, as a phrase behind "the host lacks".
pub fn probe_any() -> Result<(), String> {
    probe(IpFamily::V4).or_else(|missing| probe(IpFamily::V6).map_err(|_other| missing))
}

fn list_chain(program: &Path, limit: Duration) -> Result<(), String> {
    let arguments = [WAIT[0], WAIT[1], "-t", "nat", "-S", "POSTROUTING"];
    let mut discard = |output: &mut dyn Read| io::copy(output, &mut io::sink()).map(drop);
    let ended = run(program, &arguments, Pipe::Output(&mut discard), limit);
    ended.and_then(|ended| checked(program, ended)).map_err(|error| {
        let answer = error.complaint().map_or_else(|| error_chain(&error), str::to_owned);
        format!("a working {}: {answer}", program.display())
    })
}

fn plain_name(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "iptables",
        IpFamily::V6 => "ip6tables",
    }
}

fn find_program(name: &str) -> Result<PathBuf, ProgramError> {
    find(name).ok_or_else(|| ProgramError::Missing { name: name.to_owned() })
}

/// The errors that a program wrote are more specific than an error of the pipe.
fn checked(program: &Path, ended: Ended) -> Result<(), ProgramError> {
    if !ended.status.success() {
        return Err(ProgramError::of(program, ended.status, &ended.errors));
    }
    ended.pipe.map_err(|source| ProgramError::Run { program: program.to_owned(), source })
}

fn each_line_of(output: &mut dyn Read, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut output = BufReader::with_capacity(1 << 16, output);
    let mut bytes = Vec::new();
    while (&mut output).take(LONGEST_LINE).read_until(b'\n', &mut bytes)? > 0 {
        if bytes.len() as u64 == LONGEST_LINE {
            return Err(io::Error::other("the output has a line of more than 64 KiB"));
        }
        each(String::from_utf8_lossy(&bytes).trim_end_matches('\n'));
        bytes.clear();
    }
    Ok(())
}

/// The table of ours that iptables-nft cannot show. It prints that in a comment, and succeeds.
fn hidden_table(line: &str) -> Option<Table> {
    let (name, rest) = line.strip_prefix("# Table `")?.split_once('\'')?;
    Table::parse(name).filter(|_| rest.contains("incompatible"))
}

/// The version and the variant that a program prints.
fn version(program: &Path) -> Result<(Version, Variant), ProgramError> {
    let mut answer = String::new();
    let mut read = |output: &mut dyn Read| output.take(LONGEST_LINE).read_to_string(&mut answer).map(drop);
    checked(program, run(program, &["--version"], Pipe::Output(&mut read), TIME_LIMIT)?)?;
    parse_version(&answer).ok_or_else(|| ProgramError::UnknownVersion {
        program: program.to_owned(),
        answer: answer.trim().to_owned(),
    })
}

/// The answer to `--version`: `iptables v1.8.9 (nf_tables)`. Before 1.8.0 there was one variant only, which the
/// answer does not name.
fn parse_version(answer: &str) -> Option<(Version, Variant)> {
    let number = answer.split_whitespace().nth(1)?.strip_prefix('v')?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    let (major, minor) = (parts.next()??, parts.next()??);
    let patch = parts.next().unwrap_or(Some(0))?;
    let variant = if answer.contains("(nf_tables)") { Variant::Nft } else { Variant::Legacy };
    Some((Version(major, minor, patch), variant))
}

#[cfg(test)]
mod tests;
