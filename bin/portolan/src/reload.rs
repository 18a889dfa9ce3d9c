//! Follows the configuration file while the proxy runs.
//!
//! kube-proxy ends when its file changes, and counts on being started again. Here what can change
//! under running rules does, and of the rest one log line says that it needs a restart. A file that
//! cannot be read or is not valid changes nothing.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use portolan_config::{Config, ConfigError, TakesEffect};
use portolan_core::ProxyMode;
use portolan_core::backend::error_chain;
use portolan_health::Health;
use portolan_host::Host;
use portolan_metrics::Metrics;
use portolan_sync::Configuration;
use serde_json::Value;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::logging::VerbosityHandle;
use crate::node_address::log_notes;
use crate::tuning;

mod file;

pub(crate) use file::FileWatch;

/// Reads the configuration anew, by the same command line.
pub(crate) type Reread = Box<dyn Fn() -> Result<Option<Config>, ConfigError> + Send>;

/// What `/configz` shows; clones show the same.
#[derive(Clone)]
pub(crate) struct Configz(Arc<Mutex<String>>);

impl Configz {
    /// Shows `text`.
    pub(crate) fn new(text: String) -> Self {
        Self(Arc::new(Mutex::new(text)))
    }

    /// What it shows now.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over from `new`, of the same shape, the settings of these paths.
    fn take_over(&self, new: &str, fields: &[String]) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(merged) = merge(&shown, new, fields) {
            *shown = merged;
        }
    }
}

/// `old` with these fields as `new` has them; nothing if either is no JSON.
fn merge(old: &str, new: &str, fields: &[String]) -> Option<String> {
    let (mut old, new): (Value, Value) = (serde_json::from_str(old).ok()?, serde_json::from_str(new).ok()?);
    // One key, the API group, with the configuration under it.
    let (Some((_, old_config)), Some((_, new_config))) =
        (old.as_object_mut()?.iter_mut().next(), new.as_object()?.iter().next())
    else {
        return None;
    };
    for field in fields {
        let pointer = format!("/{}", field.replace('.', "/"));
        if let (Some(here), Some(value)) = (old_config.pointer_mut(&pointer), new_config.pointer(&pointer)) {
            *here = value.clone();
        }
    }
    Some(old.to_string())
}

/// All that a changed configuration reaches.
pub(crate) struct Reload {
    pub(crate) reread: Reread,
    /// As the process started with it.
    pub(crate) started_with: Config,
    /// With what has changed since.
    pub(crate) current: Config,
    pub(crate) mode: ProxyMode,
    pub(crate) configz: Configz,
    pub(crate) sync: watch::Sender<Configuration>,
    pub(crate) health: Health,
    pub(crate) verbosity: VerbosityHandle,
    pub(crate) host: Host,
    pub(crate) metrics: Metrics,
}

impl Reload {
    /// Takes over the configuration whenever the file at `path` changes.
    pub(crate) async fn run(mut self, path: &Path) -> Infallible {
        let mut file = FileWatch::new(path);
        loop {
            file.changed().await;
            let ok = match (self.reread)() {
                Ok(Some(new)) => {
                    self.take_over(new);
                    true
                }
                Ok(None) => continue,
                Err(problem) => {
                    let file = path.display();
                    let problem = error_chain(&problem);
                    error!(%file, err = problem, "the configuration has changed and is not valid; the old one holds");
                    false
                }
            };
            self.metrics.config.reloaded(ok, SystemTime::now());
        }
    }

    fn take_over(&mut self, new: Config) {
        let differs = |old: &Config, effect| -> Vec<String> {
            let all = old.differences(&new).into_iter();
            all.filter(|difference| difference.takes_effect == effect)
                .map(|difference| difference.field)
                .collect()
        };
        let news: Vec<_> =
            new.notes.iter().filter(|note| !self.current.notes.contains(note)).cloned().collect();
        log_notes(&news);
        let live = differs(&self.current, TakesEffect::Live);
        let restart = differs(&self.started_with, TakesEffect::Restart);
        if !live.is_empty() {
            info!(fields = live.join(", "), "the configuration has changed; these settings hold from now on");
            self.configz.take_over(&new.configz(&self.mode), &live);
            self.apply(&new);
        }
        if !restart.is_empty() {
            warn!(
                fields = restart.join(", "),
                "the configuration has changed; these settings need a restart"
            );
        }
        if live.is_empty() && restart.is_empty() {
            info!("the configuration file was written, and says what it said");
        }
        self.current = new;
    }

    fn apply(&self, new: &Config) {
        self.verbosity.set(new.logging.verbosity);
        self.health.set_sync_period(new.sync.max);
        if new.conntrack != self.current.conntrack {
            tuning::apply(&self.host, new);
        }
        if new.oom_score_adj != self.current.oom_score_adj {
            tuning::apply_oom_score(&self.host, new);
        }
        self.sync.send_replace(configuration(new));
    }
}

/// What the sync loop needs to know of a configuration.
pub(crate) fn configuration(config: &Config) -> Configuration {
    Configuration { node: config.node(), min_period: config.sync.min, retry_period: config.sync.max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configz_takes_over_what_holds_and_nothing_else() {
        let old = r#"{"kubeproxy.config.k8s.io":{"mode":"nftables","nftables":{"masqueradeAll":false,"syncPeriod":"30s"}}}"#;
        let new = r#"{"kubeproxy.config.k8s.io":{"mode":"ipvs","nftables":{"masqueradeAll":true,"syncPeriod":"10s"}}}"#;
        let configz = Configz::new(old.into());
        configz.take_over(new, &["nftables.syncPeriod".into(), "no.such".into()]);
        let expected = r#"{"kubeproxy.config.k8s.io":{"mode":"nftables","nftables":{"masqueradeAll":false,"syncPeriod":"10s"}}}"#;
        assert_eq!(configz.text(), expected);
        configz.take_over("no JSON", &["mode".into()]);
        assert_eq!(configz.text(), expected);
    }
}
