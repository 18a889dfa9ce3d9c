//! A virtual machine to be: what is in it, and what it runs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::image::Image;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::outcome::Outcome;
use crate::{VmError, programs};

/// What `portolan_testkit::netns` builds its networks with, where busybox's own would not do.
const NETWORK_PROGRAMS: [&str; 6] = ["ip", "mount", "nft", "setpriv", "sysctl", "unshare"];

/// A virtual machine to be.
///
/// It boots in two to three seconds. Its files are in memory: 100 MiB of them are some 300 MiB of memory
/// until the kernel has unpacked them.
#[derive(Debug, Clone)]
#[must_use = "it boots when it is told to run something"]
pub struct Vm {
    kernel: Kernel,
    modules: Vec<String>,
    absent: Vec<String>,
    copies: Vec<PathBuf>,
    /// Programs and what they are called in the guest.
    programs: Vec<(String, String)>,
    texts: Vec<(PathBuf, String)>,
    variables: Vec<(String, OsString)>,
    memory: u32,
    cpus: u32,
    lacking: Vec<String>,
    patience: Duration,
}

impl Vm {
    /// A machine with this kernel, one CPU and 512 MiB, that may run for a minute.
    ///
    /// One CPU, since of two each takes nearly as much of the host: emulated ones wait for each other busily, and
    /// every instruction that may not be torn is dear as soon as there are two.
    pub fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            modules: Vec::new(),
            absent: Vec::new(),
            copies: Vec::new(),
            programs: Vec::new(),
            texts: Vec::new(),
            variables: Vec::new(),
            memory: 512,
            cpus: 1,
            lacking: Vec::new(),
            patience: Duration::from_secs(60),
        }
    }

    /// Another kernel than the one it was made with.
    pub fn kernel(mut self, kernel: Kernel) -> Self {
        self.kernel = kernel;
        self
    }

    /// Modules that are loaded before the command runs. Those of the network that are not named here are in
    /// the guest as well, and the kernel loads them when it wants them, as on any host.
    pub fn modules<M: Into<String>>(mut self, modules: impl IntoIterator<Item = M>) -> Self {
        self.modules.extend(modules.into_iter().map(Into::into));
        self
    }

    /// Modules that the guest shall not have, and with them those that need them.
    pub fn without<M: Into<String>>(mut self, modules: impl IntoIterator<Item = M>) -> Self {
        self.absent.extend(modules.into_iter().map(Into::into));
        self
    }

    /// A file of this host at the same place in the guest; an executable with its libraries, a folder with all
    /// that is in it.
    pub fn copy(mut self, path: impl Into<PathBuf>) -> Self {
        self.copies.push(path.into());
        self
    }

    /// Programs of this host by name, with their libraries. Busybox is there anyway, for what is not named.
    pub fn programs<P: Into<String>>(self, names: impl IntoIterator<Item = P>) -> Self {
        names.into_iter().map(Into::into).fold(self, |vm, name: String| vm.program_as(name.clone(), name))
    }

    /// A program of this host under another name, for those that do what their name says.
    pub fn program_as(mut self, program: impl Into<String>, name: impl Into<String>) -> Self {
        self.programs.push((program.into(), name.into()));
        self
    }

    /// What tests need that make network namespaces and look at rules.
    pub fn network_programs(self) -> Self {
        self.programs(NETWORK_PROGRAMS)
    }

    /// A file with this text.
    pub fn file(mut self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.texts.push((path.into(), text.into()));
        self
    }

    /// A variable in the command's environment.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Memory in MiB.
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// The number of CPUs.
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// Features that the CPUs shall not have, by qemu's names: `avx2`.
    pub fn without_cpu_features<F: Into<String>>(mut self, features: impl IntoIterator<Item = F>) -> Self {
        self.lacking.extend(features.into_iter().map(Into::into));
        self
    }

    /// How long it may run, boot included.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Boots, runs a command as root in `/root`, and ends.
    ///
    /// # Errors
    /// The machine could not be made, or did not live to tell how the command ended. A command that fails is
    /// no error here: see [`Outcome::code`].
    pub fn run<A: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = A>) -> Result<Outcome, VmError> {
        self.run_telling(command, |_| {})
    }

    /// Does what [`run`](Self::run) does and hands what the guest prints to `each` as it comes: what the
    /// command does, and at the end the line that tells its exit code.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_telling<A: AsRef<OsStr>>(
        &self,
        command: impl IntoIterator<Item = A>,
        each: impl FnMut(&[u8]),
    ) -> Result<Outcome, VmError> {
        let kernel = self.kernel.obtain()?;
        let mut image = self.image(&kernel.modules()?)?;
        image.text(Path::new("/vm/command"), &self.script(command));
        let folder = TempDir::new().map_err(VmError::io("make a folder for", "the guest's files"))?;
        let file = folder.path().join("image");
        fs::write(&file, image.finish()).map_err(VmError::io("write", &file.display()))?;
        let machine = Machine {
            kernel: &kernel.image,
            image: &file,
            folder: folder.path(),
            memory: self.memory,
            cpus: self.cpus,
            lacking: &self.lacking,
            patience: self.patience,
        };
        machine.run(each)
    }

    fn image(&self, modules: &crate::modules::Modules) -> Result<Image, VmError> {
        let mut image = Image::new()?;
        image.modules(modules, &self.modules, &self.absent)?;
        for (program, name) in &self.programs {
            let place = Path::new("/usr/sbin").join(name);
            image.executable(&programs::find(program)?, &place)?;
        }
        for path in &self.copies {
            image.copy(path)?;
        }
        for (path, text) in &self.texts {
            image.text(path, text);
        }
        Ok(image)
    }

    /// The command as a shell script.
    fn script<A: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = A>) -> String {
        let variables =
            self.variables.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value)));
        let words: Vec<_> = command.into_iter().map(|word| quoted(word.as_ref())).collect();
        variables.chain([format!("exec {}\n", words.join(" "))]).collect()
    }
}

/// A word that a shell takes as it is.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_the_words_of_the_command_as_they_are() {
        let vm = Vm::new(Kernel::Bookworm).variable("NAME", "it's $HOME");
        let script = vm.script(["echo", "a  b", "$NAME", "d'e"]);
        assert_eq!(script, "export NAME='it'\\''s $HOME'\nexec 'echo' 'a  b' '$NAME' 'd'\\''e'\n");
    }
}
