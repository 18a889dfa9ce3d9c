//! Programs of the host: where they are, and what they answer.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How often it is looked whether a program has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// The first program of this name in the folders of `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    find_in(&env::var_os("PATH")?, name)
}

fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// By itself or by a signal, and with which code.
    pub status: ExitStatus,
    /// What it printed.
    pub output: String,
    /// What it wrote as errors, in one line.
    pub errors: String,
}

/// Why a program gave no answer. Which program, its caller knows.
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be started, or not be talked to.
    #[error("it could not be run")]
    NotRun(#[from] io::Error),
    /// It did not come to an end in this time, and was killed.
    #[error("it was still running after {} seconds", .0.as_secs_f32())]
    StillRunning(Duration),
}

/// Runs a program to its end with this input, for `patience` at most.
///
/// # Errors
/// It cannot be run, or has not ended by then. That it fails is no error here.
pub fn run<'a>(
    program: &Path,
    arguments: impl IntoIterator<Item = &'a str>,
    input: &str,
    patience: Duration,
) -> Result<Ended, RunError> {
    let mut child = start(program, arguments)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // All at once: a program that answers while it reads would else block both sides.
    thread::scope(|scope| {
        let feeding = scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input.as_bytes())));
        let output = scope.spawn(move || read(stdout));
        let errors = scope.spawn(move || read(stderr));
        let ended = wait(&mut child, patience)?;
        // A program that ends early leaves its input unread; its errors say why.
        drop(feeding.join());
        let output = String::from_utf8_lossy(&output.join().unwrap_or_default()).into_owned();
        let errors = one_line(&errors.join().unwrap_or_default());
        let status = ended.ok_or(RunError::StillRunning(patience))?;
        Ok(Ended { status, output, errors })
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "only iptables' own programs tell whether they work, and change the tables of iptables-legacy"
)]
fn start<'a>(program: &Path, arguments: impl IntoIterator<Item = &'a str>) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, to be killed with all that it starts: who is left would keep the pipes open.
    command.process_group(0).spawn()
}

/// Waits for the end of a program; nothing when it had to be killed.
fn wait(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= patience {
            if let Ok(group) = i32::try_from(child.id()) {
                killpg(Pid::from_raw(group), Signal::SIGKILL)?;
            }
            child.wait()?;
            return Ok(None);
        }
        sleep(PAUSE);
    }
}

fn read(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What came before a failure is all there is to know.
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
pub(crate) mod tests;
