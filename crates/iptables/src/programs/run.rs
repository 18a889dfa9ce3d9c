//! Runs a program, bounded in time, and talks with it meanwhile.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::ProgramError;

/// The most that is kept of what a program writes as errors. What it says first matters.
const MOST_ERRORS: u64 = 1 << 16;

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended<T> {
    /// The process that it was.
    pub(super) process: u32,
    /// By itself or by a signal, and with which code.
    pub(super) status: ExitStatus,
    /// What it wrote as errors.
    pub(super) errors: String,
    /// What came of the talk.
    pub(super) said: io::Result<T>,
}

/// What is said while the program runs.
pub(super) enum Talk<'t, T> {
    /// This is its input; nobody listens.
    Speak(&'t mut dyn FnMut(ChildStdin) -> io::Result<T>),
    /// Its output goes here; it has no input.
    Listen(&'t mut dyn FnMut(ChildStdout) -> io::Result<T>),
}

/// Runs a program to its end, for `patience` at most.
pub(super) fn run<'a, T>(
    program: &Path,
    arguments: impl IntoIterator<Item = &'a OsStr>,
    talk: Talk<'_, T>,
    patience: Duration,
) -> Result<Ended<T>, ProgramError> {
    let not_run = |source| ProgramError::Run { program: program.to_owned(), source };
    let mut child = start(program, arguments, &talk).map_err(not_run)?;
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other).map_err(not_run)?);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (done, is_done) = channel();
    let ended = thread::scope(|scope| {
        let errors = scope.spawn(move || read(stderr));
        let watching = scope.spawn(move || kill_unless(&is_done, patience, group));
        let said = match (talk, stdin, stdout) {
            (Talk::Speak(speak), Some(stdin), _) => speak(stdin),
            (Talk::Listen(listen), _, Some(stdout)) => listen(stdout),
            _ => Err(io::Error::other("the pipe is missing")),
        };
        // Its id stays taken until it is reaped, so nobody else can be killed in its place.
        let waited = waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        drop(done);
        let was_killed = watching.join().unwrap_or_default();
        let status = child.wait()?;
        let errors = errors.join().unwrap_or_default();
        waited?;
        Ok((Ended { process: child.id(), status, errors, said }, was_killed))
    });
    match ended.map_err(not_run)? {
        (ended, Killed::No) => Ok(ended),
        (_, Killed::Yes) => Err(ProgramError::Endless { program: program.to_owned(), after: patience }),
    }
}

#[expect(clippy::disallowed_methods, reason = "only iptables' own programs can change its tables")]
fn start<'a, T>(
    program: &Path,
    arguments: impl IntoIterator<Item = &'a OsStr>,
    talk: &Talk<'_, T>,
) -> io::Result<Child> {
    let (input, output) = match talk {
        Talk::Speak(_) => (Stdio::piped(), Stdio::null()),
        Talk::Listen(_) => (Stdio::null(), Stdio::piped()),
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(input).stdout(output).stderr(Stdio::piped());
    // A group of its own, to be killed with all that it starts: who is left would keep the pipes open.
    command.process_group(0).spawn()
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Killed {
    #[default]
    No,
    Yes,
}

/// Waits for the other end to be dropped, and kills the group if that takes too long.
fn kill_unless(done: &Receiver<()>, patience: Duration, group: Pid) -> Killed {
    match done.recv_timeout(patience) {
        Ok(()) | Err(RecvTimeoutError::Disconnected) => Killed::No,
        Err(RecvTimeoutError::Timeout) => {
            // It can only be gone already.
            let _ = killpg(group, Signal::SIGKILL);
            Killed::Yes
        }
    }
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What came before a failure is all there is to know; what is too much must be read all the same.
        let _ = (&mut pipe).take(MOST_ERRORS).read_to_end(&mut bytes);
        let _ = io::copy(&mut pipe, &mut io::sink());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
