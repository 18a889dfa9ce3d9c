//! Reads objects, and tells of what cannot be read.

use std::sync::{Arc, Mutex};

use portolan_core::name::Interner;
use tracing::{error, warn};

use super::link::Link;
use crate::convert::{Converted, Converter, Origin};
use crate::decode::{Malformed, object_from_json};
use crate::metrics::{Count, SourceMetrics};
use crate::resource::Resource;
use crate::wire::Text;

/// Problems of one object that are told one by one; of more only their number is.
const TOLD_PROBLEMS: usize = 5;

/// Turns JSON into the core's objects.
#[derive(Debug)]
pub(super) struct Reader {
    converter: Converter,
    server: Arc<str>,
    metrics: Arc<SourceMetrics>,
}

impl Reader {
    pub(super) fn new(link: &Link, names: Arc<Mutex<Interner>>) -> Self {
        Self {
            converter: Converter::new(Origin::Api, names),
            server: Arc::clone(&link.server),
            metrics: Arc::clone(&link.metrics),
        }
    }

    /// Reads one object and its version.
    ///
    /// # Errors
    /// It cannot be read, which has been told and counted already.
    pub(super) fn read<'a, T: Resource>(
        &mut self,
        json: &'a [u8],
    ) -> Result<(Converted<T>, Option<Text<'a>>), Malformed> {
        let read = object_from_json::<T::Wire<'a>>(T::KIND, json).and_then(|wire| {
            let version = T::meta(&wire).resource_version.clone();
            Ok((T::convert(&mut self.converter, &wire)?, version))
        });
        if let Err(malformed) = &read {
            self.metrics.add_error(Count::Malformed, T::KIND);
            error!(server = &*self.server, "{malformed}; what is known of it stays in force");
        }
        self.tell_of_problems();
        read
    }

    fn tell_of_problems(&mut self) {
        let problems = self.converter.take_problems();
        for problem in &problems {
            self.metrics.add_error(Count::Problems, problem.kind);
        }
        let server = &*self.server;
        for problem in problems.iter().take(TOLD_PROBLEMS) {
            warn!(server, "{problem}");
        }
        if let (Some(more @ 1..), Some(last)) = (problems.len().checked_sub(TOLD_PROBLEMS), problems.last()) {
            warn!(server, "{} {}: {more} more entries are left out", last.kind, last.object);
        }
    }
}
