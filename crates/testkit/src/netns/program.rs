//! Starts the programs that tests stand on: `ip`, `nft`, `unshare`, and the proxy itself.
//!
//! The only place of the test kit that starts processes. Which network namespace a program lives in is
//! decided by the thread that starts it, so [`Program`] knows nothing of namespaces;
//! [`Namespace`](super::Namespace) brings the thread.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use super::NetnsError;

/// A program with its arguments and what it reads on standard input.
#[derive(Clone, Debug)]
pub struct Program {
    path: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    input: String,
}

impl Program {
    /// A program by name (looked for in `PATH`) or by path, without arguments.
    pub fn new(path: impl Into<OsString>) -> Self {
        Self { path: path.into(), arguments: Vec::new(), variables: Vec::new(), input: String::new() }
    }

    /// Appends arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable in the program's environment.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Text for standard input; without it the program reads an empty one.
    #[must_use]
    pub fn input(mut self, text: impl Into<String>) -> Self {
        self.input = text.into();
        self
    }

    /// The command line, for messages.
    pub fn command_line(&self) -> String {
        let words = std::iter::once(&self.path).chain(&self.arguments);
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Runs the program to its end in the caller's namespaces and returns what it printed.
    ///
    /// # Errors
    /// When it cannot start, or ends with anything but success; its standard error is in the message.
    pub fn run(&self) -> Result<String, NetnsError> {
        let output = self.output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(NetnsError::Failed {
            command: self.command_line(),
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
        })
    }

    fn output(&self) -> Result<Output, NetnsError> {
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| self.not_started(source))?;
        let feeder = child.stdin.take().map(|mut pipe| {
            let input = self.input.clone();
            // Beside the reading below: a program that answers while it reads would else block both sides.
            std::thread::spawn(move || pipe.write_all(input.as_bytes()))
        });
        let output = child.wait_with_output().map_err(NetnsError::io("wait for", self.command_line()))?;
        if let Some(feeder) = feeder {
            // A program that fails early closes its input; its exit status says more than the broken pipe.
            drop(feeder.join());
        }
        Ok(output)
    }

    /// Starts the program in the caller's namespaces, with both outputs going to `log`.
    ///
    /// # Errors
    /// When it cannot start.
    pub(super) fn spawn_into(&self, log: &File) -> Result<Child, NetnsError> {
        let share = || log.try_clone().map_err(NetnsError::io("share the log of", self.command_line()));
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(share()?).stderr(share()?);
        command.spawn().map_err(|source| self.not_started(source))
    }

    /// Starts the program with both outputs joined in one pipe, in the order they were written.
    ///
    /// # Errors
    /// When it cannot start.
    pub(super) fn spawn_piped(&self) -> Result<(Child, std::io::PipeReader), NetnsError> {
        let no_pipe = || NetnsError::io("make a pipe for", self.command_line());
        let (reader, writer) = std::io::pipe().map_err(no_pipe())?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(no_pipe())?).stderr(writer);
        let child = command.spawn().map_err(|source| self.not_started(source))?;
        Ok((child, reader))
    }

    #[expect(clippy::disallowed_methods, reason = "tests build their networks with ip, nft and unshare")]
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).envs(self.variables.iter().cloned());
        command
    }

    fn not_started(&self, source: std::io::Error) -> NetnsError {
        NetnsError::Start { program: self.path.to_string_lossy().into_owned(), source }
    }
}
