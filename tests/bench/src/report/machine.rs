//! The machine that a run was taken on, without which its figures mean little.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// What the figures depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The kernel's release, as `uname -r` prints it.
    pub(crate) kernel: String,
    /// How many CPUs this process may use.
    pub(crate) cpus: usize,
    /// What the first of them calls itself.
    pub(crate) cpu: String,
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// The version of Portolan that was built with this suite.
    pub(crate) portolan: String,
}

impl Machine {
    /// Reads it from `/proc`: proc(5) has `sys/kernel/osrelease`, `cpuinfo` and `meminfo`.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let read = |path: &str| {
            std::fs::read_to_string(Path::new("/proc").join(path))
                .with_context(|| format!("cannot read /proc/{path}"))
        };
        let memory =
            field(&read("meminfo")?, "MemTotal").and_then(kibibytes).context("no memory size in meminfo")?;
        // Not every architecture names its CPUs.
        let cpu = field(&read("cpuinfo")?, "model name").unwrap_or(std::env::consts::ARCH).to_owned();
        Ok(Self {
            kernel: read("sys/kernel/osrelease")?.trim().to_owned(),
            cpus: std::thread::available_parallelism()?.get(),
            cpu,
            memory,
            portolan: portolan_core::GIT_VERSION.to_owned(),
        })
    }

    /// One line for the head of a table.
    pub(super) fn line(&self) -> String {
        let memory = super::Unit::Bytes.show(count(self.memory));
        format!(
            "Portolan {}, Linux {}, {} CPUs ({}), {memory} of memory",
            self.portolan, self.kernel, self.cpus, self.cpu
        )
    }
}

/// A size as the tables reckon with it.
#[expect(clippy::cast_precision_loss, reason = "no memory has 2^53 bytes")]
fn count(bytes: u64) -> f64 {
    bytes as f64
}

/// The value of the first `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(key, value)| (key.trim(), value.trim()))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

fn kibibytes(value: &str) -> Option<u64> {
    let kibibytes: u64 = value.strip_suffix(" kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::read().unwrap();
        assert!(machine.cpus > 0 && machine.memory > 1 << 20, "{machine:?}");
        assert!(machine.kernel.starts_with(|c: char| c.is_ascii_digit()), "{machine:?}");
    }

    #[test]
    fn fields_are_found_whatever_blanks_stand_around_them() {
        let text = "processor\t: 0\nmodel name\t: A CPU\nmodel name\t: Another\n";
        assert_eq!(field(text, "model name"), Some("A CPU"));
        assert_eq!(field("MemTotal:       16 kB\n", "MemTotal").and_then(kibibytes), Some(16_384));
        assert_eq!(field(text, "MemTotal"), None);
    }
}
