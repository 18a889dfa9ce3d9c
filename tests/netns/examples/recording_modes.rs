//! A proxy with stand-ins beside the real nftables mode, for tests of how modes are chosen.
//!
//! The stand-ins forward nothing. Each writes a line into the file that `RECORD` names whenever it is to
//! apply a plan: its mode, the family, and how many service ports the plan has.
//!
//! | mode | can run |
//! |---|---|
//! | `iptables` | where kube-proxy's could, by the same probe |
//! | `userspace`, `mine` | everywhere |
//! | `needy` | nowhere: it needs a program that no host has |

use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;

use async_trait::async_trait;
use portolan::{Config, Modes};
use portolan_core::{
    ApplyReport, BackendError, BackendFactory, ChangeSet, IpFamily, NodePlan, ProbeFailure, ProxyBackend,
    ProxyMode,
};
use portolan_iptables::{find, programs};

/// Names the file.
const RECORD: &str = "RECORD";

struct Recording {
    mode: ProxyMode,
    probe: fn() -> Result<(), String>,
}

#[async_trait]
impl BackendFactory for Recording {
    fn mode(&self) -> ProxyMode {
        self.mode.clone()
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        (self.probe)().map_err(|missing| ProbeFailure { mode: self.mode(), missing })
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        Ok(Box::new(Recorder { mode: self.mode(), family }))
    }
}

struct Recorder {
    mode: ProxyMode,
    family: IpFamily,
}

#[async_trait]
impl ProxyBackend for Recorder {
    fn mode(&self) -> ProxyMode {
        self.mode.clone()
    }

    async fn apply(&mut self, plan: &NodePlan, _: &ChangeSet) -> Result<ApplyReport, BackendError> {
        let line = format!("{} {} {}\n", self.mode, self.family, plan.service_ports.len());
        record(&line)
            .map_err(|error| BackendError::io(format!("write into the file that {RECORD} names"), error))?;
        Ok(ApplyReport::default())
    }

    async fn cleanup(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

fn record(line: &str) -> std::io::Result<()> {
    let path = std::env::var_os(RECORD).unwrap_or_default();
    File::options().append(true).create(true).open(path)?.write_all(line.as_bytes())
}

fn like_kube_proxy() -> Result<(), String> {
    programs::probe(IpFamily::V4)
}

fn never() -> Result<(), String> {
    let name = "needy-helper";
    find(name).map_or_else(|| Err(format!("the program {name}, which is not in PATH")), |_| Ok(()))
}

fn modes() -> Modes {
    let stand_in = |mode: ProxyMode, probe: fn() -> Result<(), String>| {
        move |_: &Config| Recording { mode: mode.clone(), probe }
    };
    let [mine, needy] = ["mine", "needy"].map(ProxyMode::new);
    Modes::ours()
        .with(ProxyMode::IPTABLES, stand_in(ProxyMode::IPTABLES, like_kube_proxy))
        .with(ProxyMode::USERSPACE, stand_in(ProxyMode::USERSPACE, || Ok(())))
        .with(mine.clone(), stand_in(mine, || Ok(())))
        .with(needy.clone(), stand_in(needy, never))
}

fn main() -> ExitCode {
    portolan::run(&modes(), std::env::args_os())
}
