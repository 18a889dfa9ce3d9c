//! The nftables mode as the kit for backends knows it: its tables, read back from the kernel.

use portolan_backend_nftables::NftablesFactory;
use portolan_backend_nftables::layout::nft_family;
use portolan_core::{BackendFactory, IpFamily, NodePlan};
use portolan_nft::{NetlinkTables, TableId, Tables};
use portolan_testkit::conformance::{Candidate, Conformance};
use portolan_testkit::netns::{Namespace, assert_ruleset_reloads};
use portolan_testkit::view::View;

pub(crate) struct Nftables;

impl Candidate for Nftables {
    fn factory(&self) -> Box<dyn BackendFactory> {
        Box::new(NftablesFactory::new())
    }

    /// What the table serves; classes and slots may be shared out otherwise where it came about otherwise.
    fn holds(&self, family: IpFamily) -> String {
        view(family).map(|view| format!("{view:#?}")).unwrap_or_default()
    }

    /// The table serves the plan and nothing else, and `nft list ruleset` prints what loads again.
    fn assert_serves(&self, node: &Namespace, plan: &NodePlan) {
        assert_eq!(view(plan.family), Some(View::wanted(plan)), "{}", plan.family);
        assert_ruleset_reloads(node);
    }

    /// Class chains, for the next Service that has as many endpoints.
    fn keeps_unused(&self) -> bool {
        true
    }
}

/// What our table of a family serves, if there is one.
fn view(family: IpFamily) -> Option<View> {
    let id = TableId::new(nft_family(family), "portolan");
    let dump = NetlinkTables::open().unwrap().dump(&id).unwrap()?;
    Some(View::of(&dump).unwrap_or_else(|flaw| panic!("{family}: {flaw}")))
}

pub(crate) fn kit() -> Conformance<Nftables> {
    Conformance::new(|_node| Nftables)
}
