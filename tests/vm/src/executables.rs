//! Executables that others built, by the environment variables that name them.
//!
//! A test that built them itself would wait for the lock of the build that it is part of. So `tests/vm/test.sh` builds
//! first and says where things are, and without that a test fails and says what is missing.

use std::env;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::VmError;

/// Names the proxy's own binary.
const PROXY: &str = "PORTOLAN_BIN";
/// Names a file with what `cargo test --no-run --message-format=json` printed.
const TESTS: &str = "PORTOLAN_TESTS";

/// The proxy's own binary.
///
/// # Errors
/// `PORTOLAN_BIN` is not set or names no file.
pub fn proxy() -> Result<PathBuf, VmError> {
    let path = PathBuf::from(variable(PROXY)?);
    if path.is_file() {
        Ok(path)
    } else {
        Err(unfit(PROXY, format!("names {}, which is no file", path.display())))
    }
}

/// The executable of a package's tests: of its unit tests if `target` is the library's name, or else of the
/// integration test of this name.
///
/// # Errors
/// `PORTOLAN_TESTS` is not set, or the file it names does not name the executable.
pub fn test_executable(package: &str, target: &str) -> Result<PathBuf, VmError> {
    let list = variable(TESTS)?;
    let text = fs::read_to_string(&list).map_err(VmError::io("read", &list))?;
    let found = text.lines().find_map(|line| executable(line, package, target));
    found.ok_or_else(|| unfit(TESTS, format!("names {list}, which lacks {target} of {package}")))
}

/// The executable in a message of cargo, if it is this one's.
fn executable(message: &str, package: &str, target: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_test = message.pointer("/profile/test")?.as_bool()?;
    let is_target = message.pointer("/target/name")?.as_str()? == target;
    // `path+file:///somewhere/crates/host#portolan-host@0.1.0`
    let (_place, name) = message.get("package_id")?.as_str()?.rsplit_once('#')?;
    let is_package = name.split('@').next() == Some(package);
    let path = message.get("executable")?.as_str()?;
    (is_test && is_target && is_package).then(|| PathBuf::from(path))
}

fn variable(name: &'static str) -> Result<String, VmError> {
    env::var(name).map_err(|_unset| unfit(name, "is not set".to_owned()))
}

fn unfit(variable: &'static str, reason: String) -> VmError {
    VmError::NotBuilt { variable, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = r#"{"reason":"compiler-artifact","package_id":"path+file:///p/crates/host#portolan-host@0.1.0","target":{"kind":["test"],"name":"kernel"},"profile":{"test":true},"executable":"/t/kernel-1"}"#;

    #[test]
    fn an_executable_is_found_by_package_and_target() {
        assert_eq!(executable(MESSAGE, "portolan-host", "kernel"), Some(PathBuf::from("/t/kernel-1")));
        assert_eq!(executable(MESSAGE, "portolan-nft", "kernel"), None);
        assert_eq!(executable(MESSAGE, "portolan-host", "other"), None);
    }

    #[test]
    fn what_is_no_test_or_no_message_is_passed_over() {
        let binary = MESSAGE.replace(r#""test":true"#, r#""test":false"#);
        assert_eq!(executable(&binary, "portolan-host", "kernel"), None);
        assert_eq!(executable("   Compiling portolan-host", "portolan-host", "kernel"), None);
        assert_eq!(executable(r#"{"reason":"build-finished"}"#, "portolan-host", "kernel"), None);
    }
}
