//! Each kind of iptables as the kit knows it.

use async_trait::async_trait;
use portolan_backend_iptables::IptablesBackend;
use portolan_backend_iptables::programs::{Programs, Variant};
use portolan_core::backend::error_chain;
use portolan_core::{BackendError, BackendFactory, IpFamily, ProbeFailure, ProxyBackend, ProxyMode};
use portolan_testkit::conformance::{Candidate, Conformance};
use portolan_testkit::scenario::Need;
use portolan_testkit::upstream::comparable_rules;

use crate::node::{options, saved};

/// Backends of one kind, whichever goes by the plain name here.
#[derive(Clone, Copy)]
pub(crate) struct Kind(Variant);

impl Candidate for Kind {
    fn factory(&self) -> Box<dyn BackendFactory> {
        Box::new(*self)
    }

    fn holds(&self, family: IpFamily) -> String {
        comparable_rules(&saved(self.0, family))
    }
}

#[async_trait]
impl BackendFactory for Kind {
    fn mode(&self) -> ProxyMode {
        ProxyMode::IPTABLES
    }

    async fn probe(&self) -> Result<(), ProbeFailure> {
        match IpFamily::ALL.into_iter().find_map(|family| Programs::of_variant(family, self.0).err()) {
            Some(error) => Err(ProbeFailure { mode: self.mode(), missing: error_chain(&error) }),
            None => Ok(()),
        }
    }

    fn create(&self, family: IpFamily) -> Result<Box<dyn ProxyBackend>, BackendError> {
        let programs = Programs::of_variant(family, self.0)
            .map_err(|error| BackendError::unsupported(&self.mode(), error_chain(&error)))?;
        Ok(Box::new(IptablesBackend::new(family, programs, options())))
    }
}

/// What kube-proxy's rules do otherwise; [`crate::differences`] has what becomes of these packets.
const UNMET: [Need; 5] = [
    Need::UndefinedPorts,
    Need::ServiceCidrs,
    Need::RefusalsToTheNode,
    Need::RangesWithoutEndpoints,
    Need::RefusalsWithinRanges,
];

pub(crate) fn kit(variant: Variant) -> Conformance<Kind> {
    let start: fn(&str) -> Kind = match variant {
        Variant::Nft => |_| Kind(Variant::Nft),
        Variant::Legacy => |_| Kind(Variant::Legacy),
    };
    Conformance::new(start).unmet(UNMET)
}
