//! klog's `-v` in terms of levels and targets.

use portolan_sync::DETAIL;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Libraries that talk about themselves. They stay two steps behind, and never get
/// to the level where they would show what is inside requests.
const LIBRARIES: [&str; 9] =
    ["axum", "hyper", "hyper_util", "kube_client", "mio", "rustls", "tokio", "tower", "want"];

/// What to log at this verbosity.
///
/// | `-v` | ours | libraries |
/// |---|---|---|
/// | 0, 1 | what happens once, and problems | problems |
/// | 2, 3 | also one line per update | what happens |
/// | 4, 5 | also what is done | what happens |
/// | 6… | also each step | what is done |
pub(crate) fn targets(verbosity: u32) -> Targets {
    let (ours, detail, libraries) = match verbosity {
        0 | 1 => (LevelFilter::INFO, LevelFilter::WARN, LevelFilter::WARN),
        2 | 3 => (LevelFilter::INFO, LevelFilter::INFO, LevelFilter::INFO),
        4 | 5 => (LevelFilter::DEBUG, LevelFilter::DEBUG, LevelFilter::INFO),
        _ => (LevelFilter::TRACE, LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    let libraries = LIBRARIES.map(|library| (library, libraries));
    Targets::new().with_default(ours).with_target(DETAIL, detail).with_targets(libraries)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn each_step_of_verbosity_adds_something() {
        let enabled = |verbosity, target: &str, level| targets(verbosity).would_enable(target, &level);
        let first_shown_at = |target, level| (0..9).find(|v| enabled(*v, target, level));
        let cases = [
            ("portolan_sync::family", Level::INFO, Some(0)),
            (DETAIL, Level::INFO, Some(2)),
            ("portolan_source::api", Level::DEBUG, Some(4)),
            ("portolan_nft", Level::TRACE, Some(6)),
            ("custom_backend", Level::INFO, Some(0)),
            ("custom_backend", Level::DEBUG, Some(4)),
            ("hyper_util::client", Level::WARN, Some(0)),
            ("hyper_util::client", Level::INFO, Some(2)),
            ("kube_client::client", Level::DEBUG, Some(6)),
            ("hyper::proto", Level::TRACE, None),
        ];
        for (target, level, expected) in cases {
            assert_eq!(first_shown_at(target, level), expected, "{target} {level}");
        }
    }
}
