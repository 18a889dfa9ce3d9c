//! Programs of the host: where they are, and what they answer.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is looked whether a program has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// How much of a program's complaints is read, in bytes. A pipe holds more, so that no program waits for a
/// reader.
const COMPLAINTS: u64 = 4096;

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
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it wrote as errors, in one line.
    pub(crate) errors: String,
}

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("it could not be run: {0}")]
    NotRun(#[from] io::Error),
    #[error("it was still running after {} seconds", .0.as_secs_f32())]
    StillRunning(Duration),
}

/// Runs a program without input, and without interest in its output, for `patience` at most.
pub(crate) fn run<'a>(
    program: &Path,
    arguments: impl IntoIterator<Item = &'a OsStr>,
    patience: Duration,
) -> Result<Ending, RunError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "whether iptables works is what is asked, and no netlink tells"
    )]
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let code = end(&mut child, patience)?;
    let mut errors = Vec::new();
    if let Some(pipe) = child.stderr.take() {
        pipe.take(COMPLAINTS).read_to_end(&mut errors)?;
    }
    Ok(Ending { code, errors: one_line(&errors) })
}

/// Waits for the end of a program, and brings it about when patience ends.
fn end(child: &mut Child, patience: Duration) -> Result<Option<i32>, RunError> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if started.elapsed() >= patience {
            child.kill()?;
            child.wait()?;
            return Err(RunError::StillRunning(patience));
        }
        sleep(PAUSE);
    }
}

fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;

    /// A shell script, and the folder that it lives as long as.
    ///
    /// Its executable file is another process's work: a test beside this one that starts a program would
    /// inherit the file while it is open for writing, and then nobody could run it (ETXTBSY).
    pub(crate) fn script(body: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (text, path) = (folder.path().join("text"), folder.path().join("program"));
        fs::write(&text, format!("#!/bin/sh\n{body}\n")).unwrap();
        let made = run(
            &find("install").unwrap(),
            [OsStr::new("-m755"), text.as_os_str(), path.as_os_str()],
            Duration::from_secs(10),
        );
        assert_eq!(made.unwrap(), Ending { code: Some(0), errors: String::new() });
        (folder, path)
    }

    #[test]
    fn the_first_folder_that_has_an_executable_file_counts() {
        let (with, program) = script("");
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("program"), "not executable").unwrap();
        fs::create_dir(other.path().join("folder")).unwrap();
        let path = env::join_paths([other.path(), with.path()]).unwrap();
        assert_eq!(find_in(&path, "program"), Some(program));
        assert_eq!(find_in(&path, "folder"), None);
        assert_eq!(find_in(&path, "nothing"), None);
        assert_eq!(find_in(OsStr::new(""), "program"), None);
    }

    #[test]
    fn the_shell_is_found() {
        assert!(find("sh").unwrap().is_absolute());
    }

    #[test]
    fn an_ending_has_the_code_and_the_complaints_in_one_line() {
        let (_folder, path) = script("echo output; echo ' first ' >&2; echo >&2; echo second >&2; exit 7");
        let ending = run(&path, [], Duration::from_secs(10)).unwrap();
        assert_eq!(ending, Ending { code: Some(7), errors: "first; second".to_owned() });
    }

    #[test]
    fn a_program_that_cannot_be_run_is_an_error() {
        let error = run(Path::new("/nonexistent/program"), [], Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "it could not be run: No such file or directory (os error 2)");
    }
}
