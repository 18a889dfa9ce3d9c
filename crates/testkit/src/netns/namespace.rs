//! One named network namespace, and how to do things inside it.

use std::fs::{self, File};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempPath;

use super::{NetnsError, Program, wait_until};

/// A network namespace made by `ip netns add`, cheap to clone and to hand to other threads.
///
/// The name is taken away when the test's `/run` goes; the namespace itself lives as long as a handle, a
/// socket or a process in it.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Arc<str>,
    handle: Arc<File>,
}

impl Namespace {
    /// Makes a new, empty namespace: only a loopback interface, and that one down.
    ///
    /// # Errors
    /// When the name is taken, or outside [`isolated`](super::isolated) without root's rights.
    pub fn create(name: &str) -> Result<Self, NetnsError> {
        Program::new("ip").args(["netns", "add", name]).run()?;
        Self::open(name)
    }

    /// Opens a namespace that exists already.
    ///
    /// # Errors
    /// When there is none by this name.
    pub fn open(name: &str) -> Result<Self, NetnsError> {
        let path = format!("/run/netns/{name}");
        let handle = File::open(&path).map_err(NetnsError::io("open", path))?;
        Ok(Self { name: name.into(), handle: Arc::new(handle) })
    }

    /// The name that `ip -n` knows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread inside the namespace and returns what it returned.
    ///
    /// A panic in `work` goes on in the caller, so assertions may stand inside.
    ///
    /// # Errors
    /// When the thread is not let into the namespace; `work` has not run then.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        let inside = || self.enter().map(|()| work());
        thread::scope(|scope| scope.spawn(inside).join().unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// Runs `work` on a thread inside the namespace while the caller goes on.
    ///
    /// Returns once the thread is inside, so a failure to enter is known at once.
    ///
    /// # Errors
    /// When the thread is not let into the namespace; `work` does not run then.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, NetnsError> {
        // A thread takes its namespace from the one that starts it.
        self.run(|| thread::spawn(work))
    }

    /// Runs a program inside to its end and returns what it printed.
    ///
    /// # Errors
    /// When it cannot start or fails.
    pub fn run_program(&self, program: &Program) -> Result<String, NetnsError> {
        self.run(|| program.run())?
    }

    /// Starts a program inside; it is killed when the handle goes.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn spawn_program(&self, program: &Program) -> Result<RunningProgram, NetnsError> {
        let no_log = || NetnsError::io("make a log for", program.command_line());
        let log = tempfile::NamedTempFile::new().map_err(no_log())?.into_temp_path();
        let writer = File::options().append(true).open(&log).map_err(no_log())?;
        let child = self.run(|| program.spawn_into(&writer))??;
        Ok(RunningProgram { name: program.command_line(), child, log })
    }

    /// Runs one `ip` command inside, given as its words: `ns.ip("addr add 192.0.2.7/24 dev eth0")`.
    ///
    /// # Errors
    /// When `ip` turns it down.
    pub fn ip(&self, words: &str) -> Result<String, NetnsError> {
        self.run_program(&Program::new("ip").args(words.split_whitespace()))
    }

    /// Sets sysctls of this namespace, given by their path below `/proc/sys`.
    ///
    /// # Errors
    /// When the kernel has no such setting or refuses the value.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<(), NetnsError> {
        self.run(|| settings.iter().try_for_each(|(path, value)| set_sysctl(path, value)))?
    }

    /// The same for settings that only some kernels have in each namespace; others are left out.
    ///
    /// # Errors
    /// When the kernel refuses a value.
    pub fn sysctl_where_known(&self, settings: &[(&str, &str)]) -> Result<(), NetnsError> {
        self.run(|| {
            let mut known =
                settings.iter().filter(|(path, _)| Path::new(&format!("/proc/sys/{path}")).exists());
            known.try_for_each(|(path, value)| set_sysctl(path, value))
        })?
    }

    fn enter(&self) -> Result<(), NetnsError> {
        setns(&*self.handle, CloneFlags::CLONE_NEWNET)
            .map_err(|source| NetnsError::Enter { name: self.name.to_string(), source })
    }
}

/// Sets a sysctl of the current thread's namespace.
fn set_sysctl(path: &str, value: &str) -> Result<(), NetnsError> {
    let path = format!("/proc/sys/{path}");
    std::fs::write(&path, value).map_err(NetnsError::io("set", path))
}

/// A program that runs in a namespace; dropping it kills it with `SIGKILL`.
///
/// In a test that fails, dropping also prints what the program wrote.
#[derive(Debug)]
pub struct RunningProgram {
    name: String,
    child: Child,
    log: TempPath,
}

impl RunningProgram {
    /// The process's id in the test's own process namespace.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the program ended, if it has.
    ///
    /// # Errors
    /// The kernel cannot report it.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>, NetnsError> {
        self.child.try_wait().map_err(NetnsError::io("ask about", self.name.clone()))
    }

    /// Kills the program at once, as a crash or the kernel's out-of-memory killer would.
    ///
    /// # Errors
    /// When the kernel cannot.
    pub fn kill(&mut self) -> Result<ExitStatus, NetnsError> {
        self.child.kill().map_err(NetnsError::io("kill", self.name.clone()))?;
        self.child.wait().map_err(NetnsError::io("wait for", self.name.clone()))
    }

    /// Asks the program to end, with `SIGTERM`, and waits for it.
    ///
    /// # Errors
    /// When it is still there after `patience`.
    pub fn terminate(&mut self, patience: Duration) -> Result<ExitStatus, NetnsError> {
        if let Some(status) = self.exited()? {
            return Ok(status);
        }
        let id = Pid::from_raw(self.child.id().cast_signed());
        kill(id, Signal::SIGTERM)
            .map_err(|errno| NetnsError::io("terminate", self.name.clone())(errno.into()))?;
        let gone = || !matches!(self.child.try_wait(), Ok(None));
        wait_until(&format!("{} has ended", self.name), patience, gone)?;
        self.child.wait().map_err(NetnsError::io("wait for", self.name.clone()))
    }

    /// All the program has written so far, both outputs in order.
    ///
    /// # Errors
    /// When the log cannot be read back.
    pub fn log(&self) -> Result<String, NetnsError> {
        let bytes = fs::read(&self.log).map_err(NetnsError::io("read the log of", self.name.clone()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for RunningProgram {
    #[expect(clippy::print_stderr, reason = "the log of a failed test is for the one who runs it")]
    fn drop(&mut self) {
        // It may have ended already, and a drop cannot return an error.
        drop(self.kill());
        if thread::panicking() {
            let log = self.log().unwrap_or_else(|error| format!("({error})"));
            eprintln!("--- log of {} ---\n{log}--- end of log ---", self.name);
        }
    }
}
