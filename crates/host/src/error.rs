//! Why a file of the host could not be read or set.

use std::io;

/// Why a setting of the host is not what was wanted, or not known.
///
/// Each names the file as it is called on a host. Messages leave the source out; print the chain of
/// sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// There is no such file, so nothing could be set.
    #[error(
        "cannot set {file} to {wanted}: it does not exist, perhaps because its kernel module is not loaded yet"
    )]
    Absent {
        /// The file.
        file: String,
        /// What it should have held.
        wanted: i64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is there, and this process may not write it.
    #[error(
        "cannot set {file} to {wanted}: it is read-only here; set it on the host or in a privileged container"
    )]
    ReadOnly {
        /// The file.
        file: String,
        /// What it should have held.
        wanted: i64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused the value.
    #[error("cannot set {file} to {wanted}")]
    Refused {
        /// The file.
        file: String,
        /// What it should have held.
        wanted: i64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file could not be read.
    #[error("cannot read {file}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file holds something else than it should.
    #[error("{file} holds {found:?}, which is not {expected}")]
    Unexpected {
        /// The file.
        file: String,
        /// What it holds, without blanks around it.
        found: String,
        /// What it should be, with an article.
        expected: &'static str,
    },
}

impl HostError {
    /// Explains why `wanted` could not be written.
    pub(crate) fn of_write(file: &str, wanted: i64, source: io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Absent { file, wanted, source },
            // EACCES and EPERM from sysctls of another namespace, EROFS from a read-only mount.
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly { file, wanted, source }
            }
            _ => Self::Refused { file, wanted, source },
        }
    }

    /// Explains why a file that would have been set to `wanted` could not even be read.
    pub(crate) fn of_read_before_write(file: &str, wanted: i64, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::of_write(file, wanted, source),
            _ => Self::Unreadable { file: file.to_owned(), source },
        }
    }
}
