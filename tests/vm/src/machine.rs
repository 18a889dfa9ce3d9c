//! Runs qemu, and ends it when its time is over.

use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use portolan_testkit::netns::NetnsError;

use crate::VmError;
use crate::outcome::{Outcome, ending, tail};

/// What the kernel is told: to speak on the first serial line and little, to end the guest when it panics,
/// to panic at any fault in it, to take the processor's random numbers rather than wait for others, not to put
/// off what waits for all its readers, as the end of each device and table does, and to believe that the timer works:
/// on a host that keeps qemu waiting it misses the ticks by which it would find out, and panics.
const KERNEL_WORDS: &str = "console=ttyS0 loglevel=4 panic=-1 oops=panic random.trust_cpu=on \
                            rcupdate.rcu_expedited=1 no_timer_check";

/// Everything that qemu can emulate but one instruction: after cmpxchg16b the flags of qemu 7.2's processor held
/// parts of an address when several tests kept the host busy, and Linux 6.12 panicked in its allocator.
const CPU: &str = "max,-cx16";

/// How long it may take until the command starts; on an idle host it is three seconds.
const BOOT_PATIENCE: Duration = Duration::from_secs(60);

/// What the guest's first process writes before all that the command does.
const STARTED: &[u8] = b"@started\n";

/// A machine to be.
pub(crate) struct Machine<'a> {
    /// The kernel.
    pub(crate) kernel: &'a Path,
    /// The file with the first file system.
    pub(crate) image: &'a Path,
    /// An empty folder.
    pub(crate) folder: &'a Path,
    /// Memory in MiB.
    pub(crate) memory: u32,
    /// The number of CPUs.
    pub(crate) cpus: u32,
    /// What its CPUs lack besides, by qemu's names.
    pub(crate) lacking: &'a [String],
    /// How long it may run.
    pub(crate) patience: Duration,
}

impl Machine<'_> {
    /// Runs it to its end, and hands what its command prints to `each` as it comes.
    ///
    /// A machine that did not boot is tried once more: in a hundred boots on a busy host one of qemu 7.2 stood
    /// still before it ran anything, and what never ran has shown nothing.
    pub(crate) fn run(&self, mut each: impl FnMut(&[u8])) -> Result<Outcome, VmError> {
        match self.run_once(&mut each) {
            Err(VmError::NotBooted { .. }) => self.run_once(&mut each),
            result => result,
        }
    }

    fn run_once(&self, each: &mut impl FnMut(&[u8])) -> Result<Outcome, VmError> {
        let started = Instant::now();
        let console = self.folder.join("console");
        let (mut qemu, output) = self.start(&console)?;
        let mut printed = Printed::default();
        let is_over = loop {
            let patience = if printed.has_started { self.patience } else { self.patience.min(BOOT_PATIENCE) };
            match output.recv_timeout((started + patience).saturating_duration_since(Instant::now())) {
                Ok(bytes) => each(printed.take(&bytes)),
                Err(RecvTimeoutError::Disconnected) => break true,
                Err(RecvTimeoutError::Timeout) => break false,
            }
        };
        let status = qemu.end().map_err(VmError::io("end", "qemu"))?;
        let console = fs::read(&console).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let end = End { is_over, status, printed, console: console.unwrap_or_default() };
        end.judge(self.patience, started.elapsed())
    }

    fn start(&self, console: &Path) -> Result<(Qemu, Receiver<Vec<u8>>), VmError> {
        let no_pipe = || VmError::io("make a pipe for", "qemu");
        let (reader, writer) = io::pipe().map_err(no_pipe())?;
        let mut command = self.command(console);
        // What qemu itself has to say stands where the guest's output does.
        command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(no_pipe())?).stderr(writer);
        let child = command.spawn().map_err(|source| {
            let program = "setpriv".to_owned();
            VmError::step("start qemu")(NetnsError::Start { program, source })
        })?;
        let (sender, receiver) = sync_channel(16);
        thread::spawn(move || pass_on(reader, &sender));
        Ok((Qemu(child), receiver))
    }

    /// qemu's command line. `setpriv` ties the machine to the life of the thread that waits for it; its own
    /// process group keeps a terminal's interrupts from it.
    fn command(&self, console: &Path) -> Command {
        #[expect(clippy::disallowed_methods, reason = "this is where virtual machines are started")]
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
        command.args(["-nodefaults", "-no-reboot", "-display", "none", "-accel", "tcg"]);
        let lacking = self.lacking.iter().map(|feature| format!(",-{feature}"));
        command.arg("-cpu").arg(CPU.to_owned() + &lacking.collect::<String>());
        command.arg("-m").arg(self.memory.to_string()).arg("-smp").arg(self.cpus.to_string());
        command.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.image);
        command.arg("-append").arg(KERNEL_WORDS);
        command.arg("-serial").arg(format!("file:{}", console.display())).args(["-serial", "stdio"]);
        command.process_group(0);
        command
    }
}

/// What came over the second serial line: before the command starts only complaints of qemu, then its output.
#[derive(Default)]
struct Printed {
    bytes: Vec<u8>,
    has_started: bool,
}

impl Printed {
    /// Takes what came and gives what of it the command wrote.
    fn take(&mut self, bytes: &[u8]) -> &[u8] {
        self.bytes.extend_from_slice(bytes);
        if self.has_started {
            return &self.bytes[self.bytes.len() - bytes.len()..];
        }
        let Some(at) = self.bytes.windows(STARTED.len()).position(|window| window == STARTED) else {
            return &[];
        };
        self.has_started = true;
        self.bytes.drain(..at + STARTED.len());
        &self.bytes
    }
}

/// How a machine ended.
struct End {
    /// It ended by itself.
    is_over: bool,
    /// How qemu ended.
    status: String,
    printed: Printed,
    console: String,
}

impl End {
    fn judge(self, patience: Duration, took: Duration) -> Result<Outcome, VmError> {
        let output = String::from_utf8_lossy(&self.printed.bytes).into_owned();
        let last_words = || tail(&self.console);
        if !self.is_over && !self.printed.has_started {
            Err(VmError::NotBooted { after: took, output: tail(&output), console: last_words() })
        } else if !self.is_over {
            Err(VmError::Hung { after: patience, output: tail(&output), console: last_words() })
        } else if self.console.contains("Kernel panic") {
            Err(VmError::Panicked { console: last_words() })
        } else if let Some((code, output)) = ending(&output) {
            Ok(Outcome { code, output: output.to_owned(), console: self.console, took })
        } else {
            Err(VmError::Silent { status: self.status, output: tail(&output), console: last_words() })
        }
    }
}

/// Reads until the end, or until the receiver is gone.
fn pass_on(mut output: PipeReader, to: &SyncSender<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = output.read(&mut buffer) {
        if to.send(buffer[..length].to_vec()).is_err() {
            return;
        }
    }
}

/// A running qemu; dropping it ends it.
struct Qemu(Child);

impl Qemu {
    /// Ends it if it has not ended, and tells how it did.
    fn end(&mut self) -> io::Result<String> {
        // Its output is closed: if it is about to end by itself it does so soon.
        for _ in 0..100 {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status.to_string());
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.0.kill()?;
        Ok(self.0.wait()?.to_string())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // No caller can receive the error; `setpriv` reports its own.
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(is_over: bool, bytes: &[u8], console: &str) -> Result<Outcome, VmError> {
        let mut printed = Printed::default();
        printed.take(bytes);
        let (status, console) = ("exit status: 0".to_owned(), console.to_owned());
        End { is_over, status, printed, console }.judge(Duration::from_secs(60), Duration::from_secs(3))
    }

    #[test]
    fn only_what_the_command_wrote_is_its_output() {
        let mut printed = Printed::default();
        assert_eq!(printed.take(b"qemu: a warning\n@star"), b"");
        assert_eq!(printed.take(b"ted\nhel"), b"hel");
        assert_eq!(printed.take(b"lo\n"), b"lo\n");
        assert_eq!(printed.bytes, b"hello\n");
    }

    #[test]
    fn each_kind_of_failure_of_a_machine_is_distinguished() {
        let outcome = end(true, b"@started\nhello\n\n@ended 3\n", "").unwrap();
        assert_eq!((outcome.code, outcome.output.as_str()), (3, "hello\n"));
        assert!(matches!(end(true, b"@started\nhello\n", ""), Err(VmError::Silent { .. })));
        assert!(matches!(end(true, b"qemu: no such machine\n", ""), Err(VmError::Silent { .. })));
        assert!(matches!(
            end(true, b"@started\n\n@ended 0\n", "Kernel panic"),
            Err(VmError::Panicked { .. })
        ));
        assert!(matches!(end(false, b"@started\n\n@ended 0\n", ""), Err(VmError::Hung { .. })));
        assert!(matches!(end(false, b"qemu: a warning\n", ""), Err(VmError::NotBooted { .. })));
    }
}
