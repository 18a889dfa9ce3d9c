//! Programs of this host, and the libraries that they need in the guest.

use std::path::{Path, PathBuf};

use portolan_testkit::netns::{NetnsError, Program};

use crate::VmError;

/// Where programs for root are; not everybody's `PATH` has them.
const ADMINISTRATORS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Finds a program of this host.
pub(crate) fn find(name: &str) -> Result<PathBuf, VmError> {
    let elsewhere =
        || ADMINISTRATORS.map(|folder| Path::new(folder).join(name)).into_iter().find(|file| file.is_file());
    portolan_iptables::find(name)
        .or_else(elsewhere)
        .ok_or_else(|| VmError::NoProgram { program: name.to_owned() })
}

/// The libraries that an executable loads, and what loads them; none if it is static, or no executable.
pub(crate) fn libraries(executable: &Path) -> Result<Vec<PathBuf>, VmError> {
    match Program::new("ldd").args([executable]).run() {
        Ok(list) => Ok(list.lines().filter_map(library).map(PathBuf::from).collect()),
        Err(NetnsError::Failed { stderr, .. }) if stderr.contains("not a dynamic executable") => {
            Ok(Vec::new())
        }
        Err(source) => Err(VmError::step(format!("list the libraries of {}", executable.display()))(source)),
    }
}

/// The file in a line of ldd: `libc.so.6 => /lib/libc.so.6 (0x7f…)` or `/lib64/ld-linux-x86-64.so.2 (0x7f…)`.
/// The library that the kernel provides has none.
fn library(line: &str) -> Option<&str> {
    let (place, _address) = line.trim().rsplit_once(" (")?;
    let file = place.rsplit_once("=> ").map_or(place, |(_name, file)| file);
    file.starts_with('/').then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_files_that_ldd_names() {
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007ffd5)"), None);
        assert_eq!(library("\tlibc.so.6 => /lib/libc.so.6 (0x00007f2c4)"), Some("/lib/libc.so.6"));
        assert_eq!(library("\t/lib64/ld-linux.so.2 (0x00007f2c4)"), Some("/lib64/ld-linux.so.2"));
        assert_eq!(library("\tstatically linked"), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = find("portolan-no-such-program").unwrap_err();
        assert!(
            error.to_string().starts_with("the program portolan-no-such-program is in no folder"),
            "{error}"
        );
    }
}
