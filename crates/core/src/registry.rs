//! The modes that one process can choose from.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backend::{BackendFactory, ProxyMode};

/// Factories by the mode they serve.
///
/// A value, not a global: a binary builds its own, with its own backends beside
/// ours or instead of them.
#[derive(Clone, Default)]
pub struct Registry {
    factories: BTreeMap<ProxyMode, Arc<dyn BackendFactory>>,
}

/// Two factories claim one mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mode {0} is registered already")]
pub struct DuplicateMode(pub ProxyMode);

impl Registry {
    /// Adds a mode.
    ///
    /// # Errors
    /// The mode is there already; the earlier factory stays.
    pub fn register(&mut self, factory: Arc<dyn BackendFactory>) -> Result<(), DuplicateMode> {
        let mode = factory.mode();
        if self.factories.contains_key(&mode) {
            return Err(DuplicateMode(mode));
        }
        self.factories.insert(mode, factory);
        Ok(())
    }

    /// The factory of `mode`.
    pub fn get(&self, mode: &ProxyMode) -> Option<&Arc<dyn BackendFactory>> {
        self.factories.get(mode)
    }

    /// All modes, sorted.
    pub fn modes(&self) -> impl Iterator<Item = &ProxyMode> {
        self.factories.keys()
    }

    /// All factories, sorted by mode.
    pub fn factories(&self) -> impl Iterator<Item = &Arc<dyn BackendFactory>> {
        self.factories.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::IpFamily;
    use crate::backend::{BackendError, ProbeFailure, ProxyBackend};

    struct Absent(&'static str);

    #[async_trait::async_trait]
    impl BackendFactory for Absent {
        fn mode(&self) -> ProxyMode {
            ProxyMode::new(self.0)
        }

        async fn probe(&self) -> Result<(), ProbeFailure> {
            Err(ProbeFailure { mode: self.mode(), missing: "everything".into() })
        }

        fn create(&self, _: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
            Err(BackendError::unsupported(&self.mode(), "everything"))
        }
    }

    #[test]
    fn mode_registers_once_and_is_found_by_name() {
        let mut registry = Registry::default();
        let register = |registry: &mut Registry, name| registry.register(Arc::new(Absent(name)));
        register(&mut registry, "mine").unwrap();
        register(&mut registry, "another").unwrap();
        assert_eq!(register(&mut registry, "mine"), Err(DuplicateMode(ProxyMode::new("mine"))));
        assert!(registry.get(&ProxyMode::new("mine")).is_some());
        assert!(registry.get(&ProxyMode::NFTABLES).is_none());
        assert_eq!(registry.modes().map(ProxyMode::as_str).collect::<Vec<_>>(), ["another", "mine"]);
    }
}
