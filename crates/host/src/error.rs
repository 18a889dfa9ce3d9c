//! Errors of files of the host, and missing features.

use std::io;

/// Why a setting of the host cannot be read or written.
///
/// Messages name the file and leave the source out; print the chain of sources with them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The file does not exist.
    #[error("cannot set {file} to {wanted}: it does not exist; its kernel module may not be loaded")]
    Absent {
        /// The file.
        file: String,
        /// The value to write.
        wanted: i64,
        /// The reason.
        source: io::Error,
    },
    /// The process has no permission to write the file.
    #[error(
        "cannot set {file} to {wanted}: it is read-only here; set it on the host or in a privileged container"
    )]
    ReadOnly {
        /// The file.
        file: String,
        /// The value to write.
        wanted: i64,
        /// The reason.
        source: io::Error,
    },
    /// The kernel rejected the value.
    #[error("cannot set {file} to {wanted}")]
    Rejected {
        /// The file.
        file: String,
        /// The value to write.
        wanted: i64,
        /// The reason.
        source: io::Error,
    },
    /// The file could not be read.
    #[error("cannot read {file}")]
    Unreadable {
        /// The file.
        file: String,
        /// The reason.
        source: io::Error,
    },
    /// The file does not contain an integer.
    #[error("{file} contains {found:?} (want an integer)")]
    Unexpected {
        /// The file.
        file: String,
        /// Its content, trimmed.
        found: String,
    },
}

impl HostError {
    /// The error of writing `wanted`.
    pub(crate) fn of_write(file: &str, wanted: i64, source: io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Absent { file, wanted, source },
            // EACCES and EPERM from sysctls of another namespace, EROFS from a read-only mount.
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly { file, wanted, source }
            }
            _ => Self::Rejected { file, wanted, source },
        }
    }

    /// The error of reading a file before writing `wanted`.
    pub(crate) fn of_read_before_write(file: &str, wanted: i64, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::of_write(file, wanted, source),
            _ => Self::Unreadable { file: file.to_owned(), source },
        }
    }
}
