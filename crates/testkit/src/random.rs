//! How property tests run.

use std::panic::Location;

use proptest::test_runner::{Config, FileFailurePersistence, contextualize_config};

/// A test of `cases` random inputs, or of as many as `PROPTEST_CASES` says.
///
/// Seeds of failures go to a file beside the caller's source, `*.proptest-regressions`, and are tried first from then
/// on. That file belongs into the repository.
#[track_caller]
pub fn cases(cases: u32) -> Config {
    let seeds = FileFailurePersistence::WithSource("proptest-regressions");
    contextualize_config(Config {
        cases,
        failure_persistence: Some(Box::new(seeds)),
        source_file: Some(Location::caller().file()),
        ..Config::default()
    })
}
