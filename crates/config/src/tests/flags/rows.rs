//! The rows.

mod host;
mod process;
mod proxying;

use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::node::{DetectLocal, NodePortSelection};

use super::super::*;
use super::Effect::{self, Asks, Notes, Sets};
use super::Row;

fn api(config: &Config) -> &ApiAccess {
    match &config.source {
        Source::Api(access) => access,
        Source::Manifests(folder) => panic!("{folder:?}"),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Of a flag whose value is any text.
const ANYTHING: (&[&str], &str) = (&[], "");

/// A flag, its default, a command line with it, what that does, a command line that is rejected for it, how.
const fn row(
    flag: &'static str,
    default: &'static str,
    accepted: &'static [&'static str],
    effect: Effect,
    rejected: (&'static [&'static str], &'static str),
) -> Row {
    Row { flag, default, accepted, effect, rejected }
}

/// All rows.
pub(super) fn rows() -> impl Iterator<Item = Row> {
    process::ROWS.into_iter().chain(proxying::ROWS).chain(host::ROWS)
}
