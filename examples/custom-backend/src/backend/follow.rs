//! Does what is to be done about a difference.

use std::net::SocketAddr;
use std::time::Duration;

use portolan_core::{ApplyReport, BackendError};

use super::compare::Difference;
use super::{HaproxyBackend, refused};
use crate::diff::{Turn, command, deletion, turns};
use crate::folder::Edit;
use crate::haproxy::{Condition, HaproxyError};
use crate::node;
use crate::render::Block;

/// When to look again whether servers that went have lost their last connection.
const LATER: Duration = Duration::from_secs(10);

impl HaproxyBackend {
    /// Makes it so.
    pub(super) fn follow(
        &mut self,
        difference: Difference,
        report: &mut ApplyReport,
    ) -> Result<(), BackendError> {
        let Difference { blocks, stale, come, gone } = difference;
        node::add(self.family, come.iter())
            .map_err(|error| refused("make addresses of Services local", error))?;
        let changed: Vec<_> = blocks.keys().cloned().collect();
        for (id, block) in blocks {
            let old = block.as_ref().map_or(0, |block| signed(&id, block));
            let left = match block {
                Some(block) => self.blocks.insert(id.clone(), block),
                None => self.blocks.remove(&id),
            };
            self.digest = self.digest.wrapping_add(old);
            self.digest = self.digest.wrapping_sub(left.map_or(0, |block| signed(&id, &block)));
        }
        let texts: Vec<Edit<'_>> =
            stale.iter().map(|id| (id.as_str(), self.blocks.get(id).map(Block::text))).collect();
        report.operations += come.len() + gone.len() + texts.len();
        report.bytes += texts.iter().filter_map(|(_, text)| text.as_ref()).map(String::len).sum::<usize>();
        if self.haproxy.digest() == Some(self.digest) {
            self.folder.exchange(&texts).map_err(|error| refused("exchange configuration files", error))?;
            self.tell(&changed, report)?;
        } else {
            self.reload(&texts)?;
            report.operations += 1;
            report.transactions += 1;
        }
        node::remove(self.family, gone.iter())
            .map_err(|error| refused("take addresses of Services back", error))
    }

    /// Other frontends: the worker gives way to another.
    fn reload(&mut self, texts: &[Edit<'_>]) -> Result<(), BackendError> {
        let preamble = self.haproxy.preamble(self.digest);
        let exchanged = self.folder.exchange_checked(&self.haproxy, &preamble, texts);
        exchanged.map_err(|error| refused("take over the configuration of Services", error))?;
        self.haproxy.serve(self.digest).map_err(|error| refused("serve what is configured", error))?;
        let ready =
            |servers: &[SocketAddr]| servers.iter().map(|server| (*server, Condition::Ready)).collect();
        let farms = self.blocks.values().flat_map(|block| &block.farms);
        self.farms = farms.map(|farm| (farm.name.clone(), ready(&farm.servers))).collect();
        // The worker that had them goes with their connections.
        self.draining.clear();
        Ok(())
    }

    /// Other servers: the worker is told.
    fn tell(&mut self, changed: &[String], report: &mut ApplyReport) -> Result<(), BackendError> {
        for farm in changed.iter().filter_map(|id| self.blocks.get(id)).flat_map(|block| &block.farms) {
            for (server, turn) in turns(farm, self.farms.get(&farm.name)) {
                let (command, answer) = command(&farm.name, &server, turn);
                let told = self.haproxy.tell(&command, answer);
                told.map_err(|error| refused(&format!("change server {server} of {}", farm.name), error))?;
                let servers = self.farms.entry(farm.name.clone()).or_default();
                let drains = turn == Turn::Drain;
                servers.insert(server, if drains { Condition::Draining } else { Condition::Ready });
                let place = (farm.name.clone(), server);
                let _ = if drains { self.draining.insert(place) } else { self.draining.remove(&place) };
                report.operations += 1;
                report.messages += 1;
                report.bytes += command.len();
            }
        }
        Ok(())
    }

    /// Deletes the servers whose last connection has ended.
    pub(super) fn sweep(&mut self, report: &mut ApplyReport) -> Result<(), BackendError> {
        for (farm, server) in std::mem::take(&mut self.draining) {
            let (command, answer) = deletion(&farm, &server);
            report.messages += 1;
            match self.haproxy.tell(&command, answer) {
                Ok(()) => {
                    self.farms.get_mut(&farm).map(|servers| servers.remove(&server));
                    report.operations += 1;
                }
                // It still has connections.
                Err(HaproxyError::Refused { .. }) => drop(self.draining.insert((farm, server))),
                Err(error) => return Err(refused(&format!("delete server {server} of {farm}"), error)),
            }
        }
        report.follow_up = (!self.draining.is_empty()).then_some(LATER);
        Ok(())
    }
}

/// A block's part of the digest of all: equal blocks of two service ports must not make up for each other.
fn signed(id: &str, block: &Block) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    (id, block.digest()).hash(&mut hasher);
    hasher.finish()
}
