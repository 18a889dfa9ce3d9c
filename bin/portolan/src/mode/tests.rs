//! Lines of modes, with backends that can run or cannot.

use async_trait::async_trait;
use portolan_core::{BackendError, IpFamily, ProxyBackend};

use super::*;

/// A mode, and what it lacks here.
struct Factory(ProxyMode, Option<&'static str>);

#[async_trait]
impl BackendFactory for Factory {
    fn mode(&self) -> ProxyMode {
        self.0.clone()
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        let failure = |missing: &str| ProbeFailure { mode: self.mode(), missing: missing.into() };
        self.1.map_or(Ok(()), |missing| Err(failure(missing)))
    }

    fn fallback(&self) -> Option<ProxyMode> {
        (self.0 == ProxyMode::IPVS).then_some(ProxyMode::IPTABLES)
    }

    fn create(&self, _: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        Err(BackendError::unsupported(&self.mode(), "everything"))
    }
}

/// A registry of these modes; those after `!` cannot run.
fn registry(words: &str) -> Registry {
    let mut registry = Registry::default();
    for word in words.split_whitespace() {
        let (name, missing) = match word.strip_prefix('!') {
            Some(name) => (name, Some("a kernel")),
            None => (word, None),
        };
        registry.register(Arc::new(Factory(ProxyMode::new(name.to_owned()), missing))).unwrap();
    }
    registry
}

/// The mode that runs, with those passed over in front.
async fn chosen(modes: &str, selection: &ModeSelection, may_fall_back: bool) -> Result<String, String> {
    let registry = registry(modes);
    let chosen = choose(&registry, selection, may_fall_back).await;
    let chosen = chosen.map_err(|error| error.to_string())?;
    let before = chosen.passed_over.iter().map(|failure| failure.mode.to_string());
    Ok(before.chain([chosen.factory.mode().to_string()]).collect::<Vec<_>>().join(" "))
}

fn explicit(mode: &str) -> ModeSelection {
    ModeSelection::Explicit(ProxyMode::new(mode.to_owned()))
}

#[tokio::test]
async fn lines_lead_to_the_next_mode_that_can_run() {
    let (unset, auto) = (ModeSelection::Unset, ModeSelection::Auto);
    let cases = [
        ("nftables iptables userspace", &unset, "nftables"),
        ("nftables iptables userspace", &auto, "nftables"),
        ("!nftables iptables userspace", &auto, "nftables iptables"),
        ("!nftables !iptables userspace ipvs", &unset, "nftables iptables userspace"),
        ("nftables ipvs userspace", &explicit("ipvs"), "ipvs"),
        ("nftables !ipvs iptables", &explicit("ipvs"), "ipvs iptables"),
        ("nftables !ipvs !iptables userspace", &explicit("ipvs"), "ipvs iptables userspace"),
        ("nftables !iptables userspace", &explicit("iptables"), "iptables userspace"),
        ("!nftables iptables", &explicit("nftables"), "nftables iptables"),
        ("nftables mine", &explicit("mine"), "mine"),
        ("nftables !mine", &explicit("mine"), "mine nftables"),
        ("userspace", &explicit("userspace"), "userspace"),
        ("nftables !iptables !userspace", &explicit("iptables"), "iptables userspace nftables"),
        ("nftables !iptables !ipvs !userspace", &explicit("ipvs"), "ipvs iptables userspace nftables"),
        ("!nftables iptables !userspace", &explicit("userspace"), "userspace nftables iptables"),
    ];
    for (modes, selection, expected) in cases {
        assert_eq!(chosen(modes, selection, true).await.as_deref(), Ok(expected), "{modes} {selection:?}");
    }
}

#[tokio::test]
async fn a_mode_asked_for_by_name_stays_alone_without_fallback() {
    assert_eq!(chosen("nftables", &explicit("nftables"), false).await.as_deref(), Ok("nftables"));
    let error = chosen("!nftables iptables userspace", &explicit("nftables"), false).await.unwrap_err();
    assert_eq!(error, "no mode can run on this host: nftables needs a kernel");
    let auto = chosen("!nftables iptables", &ModeSelection::Auto, false).await;
    assert_eq!(auto.as_deref(), Ok("nftables iptables"), "nobody asked for nftables by name");
}

#[tokio::test]
async fn error_names_everything_missing_if_no_mode_can_run() {
    let error = chosen("!nftables !iptables", &ModeSelection::Auto, true).await.unwrap_err();
    assert_eq!(
        error,
        "no mode can run on this host: nftables needs a kernel; iptables needs a kernel; userspace needs a \
         backend that this binary does not have"
    );
}

#[tokio::test]
async fn a_fallback_names_both_modes_and_what_each_before_lacks() {
    let registry = registry("!nftables !iptables userspace");
    let chosen = choose(&registry, &ModeSelection::Auto, true).await;
    let fallback = chosen.unwrap_or_else(|error| panic!("{error}")).fallback().unwrap();
    assert_eq!((fallback.from, fallback.to), (ProxyMode::NFTABLES, ProxyMode::USERSPACE));
    assert_eq!(fallback.missing, "nftables: a kernel; iptables: a kernel");
}
