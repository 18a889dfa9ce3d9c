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
/// to panic at any fault of its own, and to take the processor's random numbers rather than wait for others.
const KERNEL_WORDS: &str = "console=ttyS0 loglevel=4 panic=-1 oops=panic random.trust_cpu=on";

/// Everything that qemu can emulate but one instruction: after cmpxchg16b the flags of qemu 7.2's processor held
/// parts of an address when several tests kept the host busy, and Linux 6.12 panicked in its allocator.
const CPU: &str = "max,-cx16";

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
    /// How long it may run.
    pub(crate) patience: Duration,
}

impl Machine<'_> {
    /// Runs it to its end, and hands what its command prints to `each` as it comes.
    pub(crate) fn run(&self, mut each: impl FnMut(&[u8])) -> Result<Outcome, VmError> {
        let started = Instant::now();
        let console = self.folder.join("console");
        let (mut qemu, output) = self.start(&console)?;
        let deadline = started + self.patience;
        let mut printed = Vec::new();
        let is_over = loop {
            match output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    each(&bytes);
                    printed.extend_from_slice(&bytes);
                }
                Err(RecvTimeoutError::Disconnected) => break true,
                Err(RecvTimeoutError::Timeout) => break false,
            }
        };
        let status = qemu.end().map_err(VmError::io("end", "qemu"))?;
        let output = String::from_utf8_lossy(&printed).into_owned();
        let console = fs::read(&console).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let console = console.unwrap_or_default();
        match ending(&output) {
            _ if !is_over => {
                Err(VmError::Hung { after: self.patience, output: tail(&output), console: tail(&console) })
            }
            _ if console.contains("Kernel panic") => Err(VmError::Panicked { console: tail(&console) }),
            Some((code, output)) => {
                Ok(Outcome { code, output: output.to_owned(), console, took: started.elapsed() })
            }
            None => Err(VmError::Silent { status, output: tail(&output), console: tail(&console) }),
        }
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
        command.args(["-nodefaults", "-no-reboot", "-display", "none", "-accel", "tcg", "-cpu", CPU]);
        command.arg("-m").arg(self.memory.to_string()).arg("-smp").arg(self.cpus.to_string());
        command.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.image);
        command.arg("-append").arg(KERNEL_WORDS);
        command.arg("-serial").arg(format!("file:{}", console.display())).args(["-serial", "stdio"]);
        command.process_group(0);
        command
    }
}

/// Reads until the end, or until nobody wants it any more.
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
        // There is nobody to tell, and `setpriv` has the last word.
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}
