//! The proxy as a process: starting and ending it, its metrics, its memory and its time.

mod page;
mod usage;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use portolan_testkit::netns::{Namespace, Portolan};

pub(crate) use page::Page;

use crate::measure::Start;
use crate::mode::Mode;
use crate::objects::PODS;

/// How long a load or a restart may take before it counts as stuck. Debug builds are slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where the metrics are (kube-proxy's default).
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 10249);
/// A proxy that runs.
pub(crate) struct Proxy {
    process: Portolan,
    /// Just before it was started.
    pub(crate) started: Start,
}

/// Where the proxy gets its objects from.
#[derive(Clone, Copy)]
pub(crate) enum From<'a> {
    /// An API server, by a kubeconfig.
    Api(&'a Path),
    /// A folder of manifests.
    Manifests(&'a Path),
}

/// The binary to measure: the one that `PORTOLAN_BIN` names, or else the one beside this executable, or for
/// a test beside its folder.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("PORTOLAN_BIN") {
        return Ok(path.into());
    }
    let this = std::env::current_exe().context("cannot find this executable")?;
    let beside = this.ancestors().skip(1).take(2).map(|folder| folder.join("portolan"));
    beside
        .filter(|path| path.is_file())
        .last()
        .context("no portolan binary; build it, or name one in PORTOLAN_BIN")
}

impl Proxy {
    /// Starts it in a namespace.
    pub(crate) fn start(namespace: &Namespace, mode: &Mode, from: From<'_>) -> anyhow::Result<Self> {
        let (source, path) = match from {
            From::Api(kubeconfig) => ("--kubeconfig", kubeconfig),
            From::Manifests(folder) => ("--manifests", folder),
        };
        let path = path.display().to_string();
        let flags = [
            (source, path.as_str()),
            ("--mode", mode.name()),
            ("--mode-fallback", "false"),
            ("--hostname-override", "node1"),
            ("--cluster-cidr", PODS),
            ("--metrics-bind-address", "127.0.0.1:10249"),
            ("--healthz-bind-address", "127.0.0.1:10256"),
        ];
        let flags = flags.iter().map(|(flag, value)| format!("{flag}={value}"));
        let binary = binary()?;
        let started = Start::now();
        let process = Portolan::start_binary(&binary, namespace, flags)?;
        Ok(Self { process, started })
    }

    /// Waits until it has brought both families into force; the page that says so.
    pub(crate) fn wait_loaded(&mut self) -> anyhow::Result<Page> {
        self.wait_for("its first load is programmed", |page| page.synced_at().is_some())
    }

    /// Waits until the metrics page says something; that page.
    pub(crate) fn wait_for(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&Page) -> bool,
    ) -> anyhow::Result<Page> {
        let mut last = None;
        self.process.wait_until(what, PATIENCE, |process| {
            let Ok(reply) = process.get(METRICS, "/metrics") else { return false };
            let page = Page::parse(&reply.body);
            let is_there = holds(&page);
            last = Some(page);
            if !is_there {
                // Rarely enough that looking costs the proxy nothing that counts.
                std::thread::sleep(Duration::from_millis(20));
            }
            is_there
        })?;
        last.context("there was no metrics page")
    }

    /// Waits until it has taken in so many more changes of slices than `before`; they need not be programmed.
    pub(crate) fn wait_slices(&mut self, before: &Page, count: u32) -> anyhow::Result<()> {
        let taken = "kubeproxy_sync_proxy_rules_endpoint_changes_total";
        let what = format!("{count} slices are taken in");
        self.wait_for(&what, |page| page.growth(before, taken) >= f64::from(count)).map(drop)
    }

    /// The metrics as they are now.
    pub(crate) fn page(&self) -> anyhow::Result<Page> {
        Ok(Page::parse(&self.process.get(METRICS, "/metrics")?.body))
    }

    /// Its resident memory in bytes, now and at its highest.
    pub(crate) fn memory(&self) -> anyhow::Result<usage::Memory> {
        usage::memory(self.process.id())
    }

    /// The processor time it has taken so far.
    pub(crate) fn time(&self) -> anyhow::Result<Duration> {
        usage::time(self.process.id())
    }

    /// Ends it as the kubelet does; its rules stay.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        self.process.terminate(PATIENCE)?;
        Ok(())
    }
}
