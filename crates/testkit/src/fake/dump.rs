//! Reads the pretended tables back in the form the kernel's take.

use super::{FakeChain, FakeSet, FakeTable};
use portolan_nft::{DumpedChain, DumpedRule, Family, TableDump, TableId};

impl FakeTable {
    pub(super) fn dump(&self, id: &TableId) -> TableDump {
        TableDump {
            id: id.clone(),
            table: self.table.clone(),
            owner: self.owner(),
            chains: self.chains.values().map(|chain| chain.dump(id.family)).collect(),
            sets: self.sets.values().map(FakeSet::dump).collect(),
        }
    }
}

impl FakeChain {
    fn dump(&self, family: Family) -> DumpedChain {
        let rule = |rule: &portolan_nft::Rule| DumpedRule {
            // Rules that cannot be written are not taken.
            expressions: rule.expressions(family).unwrap_or_default(),
            comment: rule.comment.clone(),
            handle: 0,
        };
        DumpedChain {
            chain: self.chain.clone(),
            foreign: false,
            handle: 0,
            rules: self.rules.iter().map(rule).collect(),
        }
    }
}
