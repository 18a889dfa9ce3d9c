//! Why a command did not run to its end in a virtual machine.

use std::io;
use std::time::Duration;

use portolan_testkit::netns::NetnsError;

/// Why there is no [`Outcome`](crate::Outcome).
///
/// Messages leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmError {
    /// The kernel could not be had, or the files for the guest not be found.
    #[error("cannot {step}; the packages that this takes are named in tests/setup.sh")]
    Prepare {
        /// The step.
        step: String,
        /// What became of the program that it takes.
        source: NetnsError,
    },
    /// A package index does not say what it should.
    #[error("cannot find out which package holds the kernel of Debian {suite}: {reason}")]
    NoPackage {
        /// Debian's name of the release.
        suite: &'static str,
        /// What was found instead.
        reason: &'static str,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {object}")]
    Io {
        /// The verb, as in "cannot read ...".
        action: &'static str,
        /// The file.
        object: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The kernel comes without such a module.
    #[error("the kernel {release} has no module {module}")]
    NoModule {
        /// The kernel's release.
        release: String,
        /// The module.
        module: String,
    },
    /// A program that the guest should have is not on this host.
    #[error("the program {program} is in no folder of PATH, nor in those of the administrator")]
    NoProgram {
        /// Its name.
        program: String,
    },
    /// An environment variable that names files to test is not set, or names none.
    #[error("{variable} {reason}; tests/vm/test.sh builds what it names and sets it")]
    NotBuilt {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The guest's kernel gave up.
    #[error("the guest's kernel panicked; the end of its console:\n{console}")]
    Panicked {
        /// The last lines of the console.
        console: String,
    },
    /// The guest did not come to run the command.
    #[error("the guest had not booted after {} seconds; what qemu said:\n{output}\nand the end of the console:\n{console}", after.as_secs())]
    NotBooted {
        /// The time it had.
        after: Duration,
        /// What qemu said.
        output: String,
        /// The last lines of the console.
        console: String,
    },
    /// The guest was still running when its time was over, and was ended.
    #[error("the guest was ended after {} seconds; the end of its output:\n{output}\nand of its console:\n{console}", after.as_secs())]
    Hung {
        /// The time it had.
        after: Duration,
        /// The last lines of what the command printed.
        output: String,
        /// The last lines of the console.
        console: String,
    },
    /// The guest ended without saying how the command did.
    #[error(
        "the guest ended and did not say how the command did ({status}); the end of its output:\n{output}\nand of its console:\n{console}"
    )]
    Silent {
        /// How qemu ended.
        status: String,
        /// The last lines of what was printed, by the command or by qemu.
        output: String,
        /// The last lines of the console.
        console: String,
    },
}

impl VmError {
    /// Explains a failure of `action` on a file.
    pub(crate) fn io(
        action: &'static str,
        object: &(impl ToString + ?Sized),
    ) -> impl FnOnce(io::Error) -> Self {
        let object = object.to_string();
        move |source| Self::Io { action, object, source }
    }

    /// Explains that a program of this host did not do its part.
    pub(crate) fn step(step: impl Into<String>) -> impl FnOnce(NetnsError) -> Self {
        let step = step.into();
        move |source| Self::Prepare { step, source }
    }
}
