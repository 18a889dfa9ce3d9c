//! Texts that are kept beside tests, to be read when they change.

use std::path::Path;

/// Asserts that `actual` is what the file holds. With `BLESS` in the environment the file is written first, and
/// review the difference.
///
/// # Panics
/// The file holds something else, or cannot be read or written.
#[track_caller]
pub fn assert_golden(path: &Path, actual: &str) {
    let failed = |error| panic!("{}: {error}", path.display());
    if std::env::var_os("BLESS").is_some() {
        path.parent().map_or(Ok(()), std::fs::create_dir_all).unwrap_or_else(failed);
        std::fs::write(path, actual).unwrap_or_else(failed);
    }
    let golden = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(actual, golden, "{} changed; BLESS=1 accepts it", path.display());
}
