//! Which mode to run.

use std::sync::Arc;

use anyhow::bail;
use portolan_config::ModeSelection;
use portolan_core::{BackendFactory, ProxyMode, Registry};

/// What `auto` takes, best first: the first one that the binary has.
const PREFERENCE: [ProxyMode; 3] = [ProxyMode::NFTABLES, ProxyMode::IPTABLES, ProxyMode::USERSPACE];

/// The factory of the mode that `selection` means.
///
/// # Errors
/// The binary does not have it; the message names those that it has.
pub(crate) fn pick<'a>(
    registry: &'a Registry,
    selection: &ModeSelection,
) -> anyhow::Result<&'a Arc<dyn BackendFactory>> {
    let found = match selection {
        ModeSelection::Explicit(mode) => registry.get(mode),
        ModeSelection::Auto => PREFERENCE.iter().find_map(|mode| registry.get(mode)),
    };
    if let Some(factory) = found {
        return Ok(factory);
    }
    let offered = registry.modes().map(ProxyMode::as_str).collect::<Vec<_>>().join(", ");
    match selection {
        ModeSelection::Explicit(mode) => {
            bail!("--mode {:?} is not in this binary, which offers: {offered}", mode.as_str())
        }
        ModeSelection::Auto => bail!("--mode must be given, this binary offers: {offered}"),
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use portolan_core::{BackendError, IpFamily, ProbeFailure, ProxyBackend};

    use super::*;

    struct Factory(ProxyMode);

    #[async_trait]
    impl BackendFactory for Factory {
        fn mode(&self) -> ProxyMode {
            self.0.clone()
        }

        async fn probe(&self) -> Result<(), ProbeFailure> {
            Ok(())
        }

        fn create(&self, _: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
            Err(BackendError::Unsupported { mode: self.mode(), missing: "everything".into() })
        }
    }

    fn picked(modes: &[&'static str], selection: &ModeSelection) -> Result<String, String> {
        let mut registry = Registry::default();
        for mode in modes {
            registry.register(Factory(ProxyMode::new(*mode))).unwrap();
        }
        let picked = pick(&registry, selection).map(|factory| factory.mode().to_string());
        picked.map_err(|error| error.to_string())
    }

    #[test]
    fn auto_takes_the_best_mode_and_never_one_that_was_not_asked_for() {
        let auto = ModeSelection::Auto;
        assert_eq!(picked(&["userspace", "nftables", "mine"], &auto).as_deref(), Ok("nftables"));
        assert_eq!(picked(&["userspace", "iptables", "ipvs"], &auto).as_deref(), Ok("iptables"));
        let error = picked(&["mine", "ipvs"], &auto).unwrap_err();
        assert_eq!(error, "--mode must be given, this binary offers: ipvs, mine");
    }

    #[test]
    fn an_explicit_mode_is_taken_or_refused_with_those_there_are() {
        let explicit = |mode| ModeSelection::Explicit(ProxyMode::new(mode));
        assert_eq!(picked(&["nftables", "mine"], &explicit("mine")).as_deref(), Ok("mine"));
        let error = picked(&["nftables", "mine"], &explicit("ipvs")).unwrap_err();
        assert_eq!(error, "--mode \"ipvs\" is not in this binary, which offers: mine, nftables");
    }
}
