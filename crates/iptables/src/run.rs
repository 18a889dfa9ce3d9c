//! Runs a program to its end, for a limited time.
//!
//! One thread does all of it: it waits with poll(2) for whichever pipe is ready. So no pipe blocks it for longer than
//! the time limit, neither of a program that leaves its input unread nor one that a descendant of the program has
//! inherited and keeps open.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::programs::ProgramError;

/// The most that is kept of stderr, in bytes. The first lines name the cause.
const MOST_ERRORS: usize = 1 << 16;

/// What a pipe takes at once without blocking when poll(2) says that it is writable: `PIPE_BUF`, pipe(7).
const PIPE_BUF: usize = 4096;

/// The first and the longest pause between checks whether a program that has closed its pipes has ended.
const FIRST_PAUSE: Duration = Duration::from_micros(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// The time to wait for a killed program. It can exceed that only inside a system call that does not return.
const KILL_LIMIT: Duration = Duration::from_secs(1);

/// The first executable file of this name in the directories of `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    find_in(&env::var_os("PATH")?, name)
}

fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    let is_executable = |file: &PathBuf| {
        file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(path).map(|directory| directory.join(name)).find(is_executable)
}

/// The pipe that the caller uses while the program runs.
pub(crate) enum Pipe<'t> {
    /// Writes the program's input; its output is discarded.
    Input(&'t mut dyn FnMut(&mut dyn Write) -> io::Result<()>),
    /// Reads the program's output; it has no input.
    Output(&'t mut dyn FnMut(&mut dyn Read) -> io::Result<()>),
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its process id.
    pub(crate) process: u32,
    /// Its exit code, or the signal that ended it.
    pub(crate) status: ExitStatus,
    /// What it wrote as errors.
    pub(crate) errors: String,
    /// The result of writing the input or reading the output. A program that fails may leave its input unread.
    pub(crate) pipe: io::Result<()>,
}

/// Runs a program to its end, for `limit` at most.
///
/// # Errors
/// The program cannot be started, or did not end in time. A program that fails is no error here.
pub(crate) fn run(
    program: &Path,
    arguments: &[&str],
    pipe: Pipe<'_>,
    limit: Duration,
) -> Result<Ended, ProgramError> {
    let cannot_run = |source| ProgramError::Run { program: program.to_owned(), source };
    let deadline = Instant::now() + limit;
    let mut running = Running::start(program, arguments, &pipe).map_err(cannot_run)?;
    let child = &mut running.child;
    let mut errors = Errors { pipe: child.stderr.take(), text: Vec::new() };
    let pipe = match (pipe, child.stdin.take(), child.stdout.take()) {
        (Pipe::Input(write), Some(pipe), _) => write(&mut TimedPipe { pipe, errors: &mut errors, deadline }),
        (Pipe::Output(read), _, Some(pipe)) => read(&mut TimedPipe { pipe, errors: &mut errors, deadline }),
        _ => Err(io::Error::other("a pipe is missing")),
    };
    match running.wait(&mut errors, deadline).map_err(cannot_run)? {
        Some(status) => Ok(Ended { process: running.child.id(), status, errors: errors.finish(), pipe }),
        None => Err(ProgramError::TimedOut { program: program.to_owned(), limit }),
    }
}

/// A program in a process group of its own. If it is dropped before it has ended, the group is killed. The program is
/// reaped in any case.
struct Running {
    child: Child,
    has_ended: bool,
}

impl Running {
    #[expect(clippy::disallowed_methods, reason = "only iptables' own programs can change its tables")]
    fn start(program: &Path, arguments: &[&str], pipe: &Pipe<'_>) -> io::Result<Self> {
        let (input, output) = match pipe {
            Pipe::Input(_) => (Stdio::piped(), Stdio::null()),
            Pipe::Output(_) => (Stdio::null(), Stdio::piped()),
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(input).stdout(output).stderr(Stdio::piped()).process_group(0);
        Ok(Self { child: command.spawn()?, has_ended: false })
    }

    /// Waits for the end of the program, not of its descendants; nothing if it is still running at the deadline.
    fn wait(&mut self, errors: &mut Errors, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.has_ended = true;
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            if errors.pipe.is_some() {
                errors.poll(None, LONGEST_PAUSE)?;
            } else {
                sleep(pause);
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        // The id belongs to the program until it is reaped, so no other group is killed.
        let process = Pid::from_raw(self.child.id().cast_signed());
        // Both can fail: the program may have left the group, and have ended by now.
        let (_, _) = (killpg(process, Signal::SIGKILL), self.child.kill());
        let deadline = Instant::now() + KILL_LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                thread::spawn(move || waitpid(process, None));
                return;
            }
            sleep(LONGEST_PAUSE);
        }
    }
}

/// The stderr of a program. It is read whenever the caller waits, since the program blocks on a full pipe.
struct Errors {
    pipe: Option<ChildStderr>,
    text: Vec<u8>,
}

impl Errors {
    /// Waits until a pipe is ready.
    fn wait_for(&mut self, pipe: BorrowedFd<'_>, event: PollFlags, deadline: Instant) -> io::Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if self.poll(Some((pipe, event)), left)? {
                return Ok(());
            }
        }
    }

    /// Waits for this time at most until a pipe is ready or there are errors, which it reads once. Returns whether the
    /// pipe is ready. A signal counts as nothing ready.
    fn poll(&mut self, pipe: Option<(BorrowedFd<'_>, PollFlags)>, time: Duration) -> io::Result<bool> {
        let errors = self.pipe.as_ref().map(|errors| (errors.as_fd(), PollFlags::POLLIN));
        let polled = [pipe, errors].map(|polled| polled.map(|(pipe, event)| PollFd::new(pipe, event)));
        let mut polled: Vec<_> = polled.into_iter().flatten().collect();
        match poll(&mut polled, PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_ready = |polled: Option<&PollFd<'_>>| polled.and_then(PollFd::any).unwrap_or(false);
        let has_errors = errors.is_some() && is_ready(polled.last());
        let is_ready = pipe.is_some() && is_ready(polled.first());
        if has_errors {
            self.read();
        }
        Ok(is_ready)
    }

    /// Reads once from a pipe that is ready. What exceeds the limit is discarded.
    fn read(&mut self) {
        let mut bytes = [0; PIPE_BUF];
        match self.pipe.as_mut().map(|pipe| pipe.read(&mut bytes)) {
            Some(Ok(length @ 1..)) => {
                let length = length.min(MOST_ERRORS - self.text.len());
                self.text.extend_from_slice(&bytes[..length]);
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => self.pipe = None,
        }
    }

    /// All that was written by the end of the program.
    fn finish(mut self) -> String {
        let mut before = None;
        while self.pipe.is_some() && before != Some(self.text.len()) {
            before = Some(self.text.len());
            if self.poll(None, Duration::ZERO).is_err() {
                break;
            }
        }
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// A pipe that fails with `TimedOut` at the deadline.
struct TimedPipe<'e, P> {
    pipe: P,
    errors: &'e mut Errors,
    deadline: Instant,
}

impl Write for TimedPipe<'_, ChildStdin> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.errors.wait_for(self.pipe.as_fd(), PollFlags::POLLOUT, self.deadline)?;
        self.pipe.write(&bytes[..bytes.len().min(PIPE_BUF)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TimedPipe<'_, ChildStdout> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.errors.wait_for(self.pipe.as_fd(), PollFlags::POLLIN, self.deadline)?;
        self.pipe.read(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests;
