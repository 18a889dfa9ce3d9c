//! The rows.

mod general;
mod modes;
mod node;

use portolan_core::node::{DetectLocal, NodePortSelection};

use super::super::*;
use super::Effect::{self, Notes, Sets};
use super::Row;

fn api(config: &Config) -> &ApiAccess {
    match &config.source {
        Source::Api(access) => access,
        Source::Manifests(folder) => panic!("{folder:?}"),
    }
}

/// A field, its default, a file with it, what that does, a file that is rejected for it, how.
const fn row(
    field: &'static str,
    default: &'static str,
    accepted: &'static str,
    effect: Effect,
    rejected: (&'static str, &'static str),
) -> Row {
    Row { field, default, accepted, effect, rejected }
}

/// All rows, in the order of the file.
pub(super) fn rows() -> impl Iterator<Item = Row> {
    general::ROWS.into_iter().chain(modes::ROWS).chain(node::ROWS)
}
