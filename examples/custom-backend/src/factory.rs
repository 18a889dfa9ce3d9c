//! Whether the mode can run here, and its backends.

use std::path::PathBuf;

use async_trait::async_trait;
use portolan_core::{BackendError, BackendFactory, IpFamily, ProbeFailure, ProxyBackend, ProxyMode};

use crate::backend::HaproxyBackend;
use crate::haproxy::Haproxy;
use crate::node;

/// The value of `--mode`.
pub const MODE: &str = "haproxy";

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The program, by path or by a name that `PATH` has.
    pub program: PathBuf,
    /// A folder of our own, which may be short-lived: what is missing is written anew. Names of sockets in it
    /// must not be longer than 107 bytes (unix(7)).
    pub folder: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self { program: "haproxy".into(), folder: "/run/portolan-haproxy".into() }
    }
}

/// Makes the backends of this mode.
#[derive(Debug, Clone)]
pub struct HaproxyFactory {
    options: Options,
}

impl HaproxyFactory {
    /// With these options.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    fn haproxy(&self, family: IpFamily) -> Haproxy {
        Haproxy::new(&self.options.program, &self.options.folder.join(family.to_string()))
    }
}

#[async_trait]
impl BackendFactory for HaproxyFactory {
    fn mode(&self) -> ProxyMode {
        ProxyMode::new(MODE)
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        let missing = |missing: String| ProbeFailure { mode: self.mode(), missing };
        self.haproxy(IpFamily::V4).probe().map_err(missing)?;
        node::probe().map_err(missing)
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        Ok(Box::new(HaproxyBackend::new(family, self.haproxy(family))))
    }
}
