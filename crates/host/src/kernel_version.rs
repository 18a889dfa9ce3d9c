//! Which kernel this is.

use std::fmt;
use std::fs;

use crate::{Host, HostError};

/// The file that `uname -r` prints.
const RELEASE: &str = "/proc/sys/kernel/osrelease";

/// A kernel's version as far as features go by it; a later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// The 6 of 6.1.
    pub major: u32,
    /// The 1 of 6.1.
    pub minor: u32,
}

impl KernelVersion {
    /// Reads the start of a release such as `6.1.0-47-cloud-amd64` or `5.13-rc1`.
    fn parse(release: &str) -> Option<Self> {
        let (major, rest) = release.split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// As people write it: `6.1`.
impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Host {
    /// The version of the running kernel.
    ///
    /// # Errors
    /// The kernel does not tell, or in a way that is not understood.
    pub fn kernel_version(&self) -> Result<KernelVersion, HostError> {
        let release = fs::read_to_string(self.path(RELEASE))
            .map_err(|source| HostError::Unreadable { file: RELEASE.to_owned(), source })?;
        let release = release.trim();
        KernelVersion::parse(release).ok_or_else(|| HostError::Unexpected {
            file: RELEASE.to_owned(),
            found: release.to_owned(),
            expected: "a kernel's version",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_all_kinds_are_read_and_nonsense_is_not() {
        let read = |text| KernelVersion::parse(text).map(|version| version.to_string());
        assert_eq!(read("6.1.0-47-cloud-amd64").as_deref(), Some("6.1"));
        assert_eq!(read("5.13-rc1").as_deref(), Some("5.13"));
        assert_eq!(read("6.18.44-fc").as_deref(), Some("6.18"));
        assert_eq!(read("4.19+").as_deref(), Some("4.19"));
        for nonsense in ["", "6", "six.one", "6.", "6.x"] {
            assert_eq!(read(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number_and_not_by_text() {
        let version = |text| KernelVersion::parse(text).unwrap();
        assert!(version("5.9.0") < version("5.13.0"));
        assert!(version("5.19.0") < version("6.1.0"));
    }

    #[test]
    fn the_running_kernel_is_known_and_a_strange_one_is_named() {
        assert!(Host::new().kernel_version().unwrap().major >= 5);
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        assert_eq!(host.kernel_version().unwrap_err().to_string(), "cannot read /proc/sys/kernel/osrelease");
        fs::create_dir_all(root.path().join("proc/sys/kernel")).unwrap();
        fs::write(root.path().join("proc/sys/kernel/osrelease"), "plan9\n").unwrap();
        let error = host.kernel_version().unwrap_err().to_string();
        assert_eq!(error, "/proc/sys/kernel/osrelease holds \"plan9\", which is not a kernel's version");
    }
}
