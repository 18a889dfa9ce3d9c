//! Runs a program to its end, within a limit of time.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::LeftoverError;

/// How often it is looked whether a program has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// What it printed.
    pub(super) output: String,
    /// What it complained of, in one line; if of nothing, how it ended.
    pub(super) complaint: String,
}

/// Runs a program with this input, and kills it if it is still running after `patience`.
pub(super) fn run<'a>(
    program: &Path,
    arguments: impl IntoIterator<Item = &'a str>,
    input: &str,
    patience: Duration,
) -> Result<Ended, LeftoverError> {
    let failed = |source| LeftoverError::Run { program: program.to_owned(), source };
    let mut child = start(program, arguments.into_iter().map(OsStr::new)).map_err(failed)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // All at once: a program that answers while it reads would else block both sides.
    thread::scope(|scope| {
        let feeding = scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input.as_bytes())));
        let output = scope.spawn(move || read(stdout));
        let errors = scope.spawn(move || read(stderr));
        let ended = wait(&mut child, patience).map_err(failed)?;
        // A program that ends early leaves its input unread; its complaint says why.
        drop(feeding.join());
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let output = text(output.join().unwrap_or_default());
        let errors = text(errors.join().unwrap_or_default());
        let Some(status) = ended else {
            return Err(LeftoverError::Endless { program: program.to_owned(), after: patience });
        };
        let complaint = match one_line(&errors) {
            nothing if nothing.is_empty() => status.to_string(),
            complaint => complaint,
        };
        Ok(Ended { status, output, complaint })
    })
}

#[expect(clippy::disallowed_methods, reason = "the tables of iptables-legacy have no other interface")]
fn start<'a>(program: &Path, arguments: impl Iterator<Item = &'a OsStr>) -> io::Result<Child> {
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

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELL: &str = "/bin/sh";

    fn shell(script: &str, input: &str, patience: Duration) -> Result<Ended, LeftoverError> {
        run(Path::new(SHELL), ["-c", script], input, patience)
    }

    #[test]
    fn more_than_a_pipe_holds_goes_in_and_out() {
        let text = "0123456789abcde\n".repeat(20_000);
        let ended = shell("cat", &text, Duration::from_secs(20)).unwrap();
        assert!(ended.status.success() && ended.output == text);
    }

    #[test]
    fn a_failure_has_its_complaints_in_one_line_or_else_its_status() {
        let ended = shell("echo 'one ' >&2; echo >&2; echo two >&2; exit 3", "", Duration::from_secs(20));
        assert_eq!(ended.unwrap().complaint, "one; two");
        let ended = shell("exit 3", "unread\n".repeat(100_000).as_str(), Duration::from_secs(20)).unwrap();
        assert_eq!((ended.status.code(), ended.complaint.as_str()), (Some(3), "exit status: 3"));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_what_it_started() {
        let started = Instant::now();
        let error = shell("sleep 60; true", "", Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh was still running after 0 seconds");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(Path::new("/nonexistent/iptables"), [], "", Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "cannot run /nonexistent/iptables");
    }
}
