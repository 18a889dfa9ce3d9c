//! Kernel tests in virtual machines, for what the kernel at hand lacks.
//!
//! A [`Vm`] is a Debian cloud kernel that qemu boots, by emulation alone, with an initial file system made of
//! busybox, the kernel's network modules and whatever files a test names. It runs one command and ends:
//!
//! ```no_run
//! use portolan_tests_vm::{Kernel, Vm};
//!
//! let outcome = Vm::new(Kernel::Bookworm).modules(["ip_vs"]).run(["cat", "/proc/net/ip_vs"]).unwrap();
//!
//! assert_eq!(outcome.code, 0);
//! ```
//!
//! [`in_guest`] runs the body of a test in one, and the program `portolan-vm` any program, for people.
//!
//! The guest has the loopback interface, made by its first process, and no other: what a test wants besides
//! it makes in namespaces, as on any host. The command is root in the initial namespaces, so that it sees
//! what no container shows.
//!
//! Holds: a run ends, by the guest's own doing or by that of its time limit; a guest that panics, hangs or
//! does not say how the command ended is an error and never a success; nothing outlives the process that
//! asked for it.

mod archive;
mod error;
mod executables;
mod guest;
mod image;
mod kernel;
mod machine;
mod modules;
mod outcome;
mod programs;
mod vm;

pub use error::VmError;
pub use executables::{proxy, test_executable};
pub use guest::in_guest;
pub use kernel::Kernel;
pub use outcome::Outcome;
pub use vm::Vm;
