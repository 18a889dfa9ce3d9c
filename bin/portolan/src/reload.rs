//! Follows the configuration file while the proxy runs.
//!
//! kube-proxy ends when its file changes, and counts on being started again. Here what can change
//! under running rules does, and of the rest one log line says that it needs a restart. A file that
//! cannot be read or is not valid changes nothing.

use std::convert::Infallible;
use std::future::pending;
use std::path::Path;
use std::time::SystemTime;

use portolan_config::{Config, ConfigError, TakesEffect};
use portolan_core::ProxyMode;
use portolan_core::backend::error_chain;
use portolan_health::Health;
use portolan_host::Host;
use portolan_metrics::Metrics;
use portolan_sync::Configuration;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::logging::VerbosityHandle;
use crate::node_address::log_notes;
use crate::tuning;

mod configz;
mod file;

pub(crate) use configz::Configz;
use file::FileWatch;

/// Reads the configuration anew, by the same command line.
pub(crate) type Reread = Box<dyn Fn() -> Result<Option<Config>, ConfigError> + Send>;

/// All that a changed configuration reaches.
pub(crate) struct Reload {
    pub(crate) reread: Reread,
    /// As the process started with it.
    pub(crate) started_with: Config,
    /// As it was last read.
    pub(crate) current: Config,
    /// As plans follow it: without what waits for a restart.
    pub(crate) effective: Config,
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
        if !is_followed(path) {
            let file = path.display();
            info!(%file, "the configuration came from something else than a file, and is not read again");
            return pending().await;
        }
        let mut file = FileWatch::new(path);
        self.catch_up(path);
        loop {
            file.changed().await;
            self.reread(path);
        }
    }

    /// Takes over what was written between the start of the process and that of the watch.
    fn catch_up(&mut self, path: &Path) {
        match (self.reread)() {
            Ok(Some(new)) if self.current.differences(&new).is_empty() => {}
            read => self.settle(read, path),
        }
    }

    fn reread(&mut self, path: &Path) {
        self.settle((self.reread)(), path);
    }

    /// Takes over what was read, or says why not.
    fn settle(&mut self, read: Result<Option<Config>, ConfigError>, path: &Path) {
        match read {
            Ok(Some(new)) => {
                self.take_over(new);
                self.metrics.config.reloaded(SystemTime::now());
            }
            Ok(None) => {}
            Err(problem) => {
                let (file, err) = (path.display(), error_chain(&problem));
                error!(%file, err, "the configuration has changed and is not valid; the old one holds");
                self.metrics.config.reload_failed();
            }
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
        let live = differs(&self.effective, TakesEffect::Live);
        let restart = differs(&self.started_with, TakesEffect::Restart);
        if !live.is_empty() {
            info!(fields = live.join(", "), "the configuration has changed; these settings hold from now on");
            self.configz.take_over(&new.configz(&self.mode), &live);
        }
        self.apply(&new);
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

    fn apply(&mut self, new: &Config) {
        // It may have been changed by hand, at /debug/flags/v, and then that counts.
        if new.logging.verbosity != self.current.logging.verbosity {
            self.verbosity.set(new.logging.verbosity);
        }
        if new.conntrack != self.current.conntrack {
            tuning::apply(&self.host, new);
        }
        if new.oom_score_adj != self.current.oom_score_adj {
            tuning::apply_oom_score(&self.host, new);
        }
        if !self.started_with.plans_wait(new) {
            self.health.set_sync_period(new.sync.max);
            self.sync.send_replace(configuration(new));
            self.effective = new.clone();
        }
    }
}

/// Whether `path` is a file, which can be read again. A pipe is empty then, or has nobody at its other end, and
/// the process would wait for somebody.
fn is_followed(path: &Path) -> bool {
    // What is not there now may come back.
    path.metadata().map_or(true, |found| found.is_file())
}

/// What the sync loop needs to know of a configuration.
pub(crate) fn configuration(config: &Config) -> Configuration {
    Configuration { node: config.node(), min_period: config.sync.min, sync_period: config.sync.max }
}

#[cfg(test)]
mod tests;
