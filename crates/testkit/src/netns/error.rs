//! What can go wrong while a test's network is set up or used.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why the harness could not do what a test asked of it.
///
/// Traffic that does not get through is no such error: see
/// [`TrafficError`](crate::netns::TrafficError). Messages leave the source out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetnsError {
    /// A program the harness stands on is missing or may not run.
    #[error("cannot start {program}")]
    Start {
        /// The program's name or path.
        program: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` ended with {status}: {stderr}")]
    Failed {
        /// The program with its arguments.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said on standard error.
        stderr: String,
    },
    /// A file, socket or process could not be used.
    #[error("cannot {action} {object}")]
    Io {
        /// The verb, as in "cannot read …".
        action: &'static str,
        /// The file, address or process.
        object: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A thread was not let into a namespace.
    #[error("cannot enter namespace {name}")]
    Enter {
        /// The namespace.
        name: String,
        /// What the kernel answered.
        source: nix::Error,
    },
    /// Something that should have come true did not.
    #[error("gave up after {} ms waiting until {what}", waited.as_millis())]
    Deadline {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
    },
    /// The proxy's own binary has not been built.
    #[error("no portolan binary at {path}; run `cargo build -p portolan` first, or name one in PORTOLAN_BIN")]
    NoBinary {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The proxy ended by itself while it should have run.
    #[error("portolan ended with {status}; its log:\n{log}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// All it had written.
        log: String,
    },
    /// The kernel has no SCTP, and the environment says that it must.
    #[error("this kernel has no SCTP, which PORTOLAN_SCTP=required asks for")]
    NoSctp,
    /// An HTTP server answered something that is not HTTP.
    #[error("{url} did not answer in HTTP/1.1")]
    NotHttp {
        /// What was asked for.
        url: String,
    },
}

impl NetnsError {
    /// Names the object and the verb of an I/O failure, for use with `map_err`.
    pub(crate) fn io(action: &'static str, object: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let object = object.into();
        move |source| Self::Io { action, object, source }
    }
}
