//! Which features the loaded services use, and whether their chains are hooked.
//!
//! Holds: the chains are hooked before the first element that they look up, and go after the last.

use portolan_nft::Operation;

use crate::commit::Batches;
use crate::layout::{Container, Feature};

/// Of each feature, how many elements use it, and whether its chains exist.
#[derive(Debug, Default)]
pub(crate) struct Hooked([Use; Feature::ALL.len()]);

#[derive(Debug, Clone, Copy, Default)]
struct Use {
    count: usize,
    is_hooked: bool,
}

impl Hooked {
    /// The chains of a feature were found.
    pub(crate) fn found(&mut self, feature: Feature) {
        self.0[feature as usize].is_hooked = true;
    }

    /// An element more is wanted in this container.
    pub(crate) fn add(&mut self, container: Container) {
        if let Some(feature) = Feature::of(container) {
            self.0[feature as usize].count += 1;
        }
    }

    /// An element less is wanted in this container.
    pub(crate) fn remove(&mut self, container: Container) {
        if let Some(feature) = Feature::of(container) {
            self.0[feature as usize].count -= 1;
        }
    }

    /// Hooks what is used from now on.
    pub(crate) fn hook(&mut self, batches: &mut Batches<'_>) {
        for feature in Feature::ALL {
            let usage = &mut self.0[feature as usize];
            if usage.count > 0 && !usage.is_hooked {
                usage.is_hooked = true;
                for (chain, rules) in feature.chains() {
                    batches.add_chain(chain, rules);
                }
            }
        }
    }

    /// Takes away what is no longer used.
    pub(crate) fn unhook(&mut self, batches: &mut Batches<'_>) {
        for feature in Feature::ALL {
            let usage = &mut self.0[feature as usize];
            if usage.count > 0 || !usage.is_hooked {
                continue;
            }
            usage.is_hooked = false;
            let chains = feature.chains();
            // From the hooks on, so that nothing leads to a chain that goes.
            for (chain, _) in chains.iter().rev() {
                batches.push(Operation::FlushChain(chain.name.clone()));
            }
            for (chain, _) in chains.into_iter().rev() {
                batches.delete_chain(chain.name);
            }
        }
    }
}
