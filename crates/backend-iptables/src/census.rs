//! Whether what was loaded is there, by numbers: the jumps, and how many rules there are in our chains.
//!
//! For when others have changed the tables in ways that are not told in detail. What replaces a rule by another is
//! left to the complete comparison.

use crate::digest::Digester;
use crate::edit::Rules;
use crate::names::{BuiltIn, Chain, Fixed, Table};
use crate::render::Sink;
use crate::render::{Context, fixed_chains, jumps};
use crate::rule::{Rule, Target, parse, words};
use crate::saved::{Saved, read};
use crate::tables::Jump;

/// What should be there besides service ports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    /// The jumps, as they may be asked for.
    pub(crate) jumps: Vec<Jump>,
    /// Their digests.
    digests: Vec<(Table, BuiltIn, u64)>,
    /// The rules of ours in `KUBE-FIREWALL`, which may have others.
    firewall: Vec<u64>,
    /// The chains without service ports that are there, even if they have no rules.
    chains: Vec<(Table, Fixed)>,
}

impl Expected {
    pub(crate) fn of(digester: &Digester, cx: &Context<'_>) -> Self {
        let mut expected = Self::default();
        for (table, from, rule) in jumps(cx) {
            expected.digests.push((table, from, digester.rule(Chain::BuiltIn(from), &rule)));
            if let Some(Target::Jump(Chain::Fixed(to))) = rule.body.target {
                expected.jumps.push(Jump { table, from, to });
            }
        }
        fixed_chains(cx, &mut Telling { digester, expected: &mut expected });
        expected
    }
}

/// Is told of the chains without service ports.
struct Telling<'a> {
    digester: &'a Digester,
    expected: &'a mut Expected,
}

impl Sink for Telling<'_> {
    fn chain(&mut self, table: Table, chain: Chain) {
        if let Chain::Fixed(chain) = chain {
            self.expected.chains.push((table, chain));
        }
    }

    fn rule(&mut self, _: Table, chain: Chain, rule: &Rule<'_>) {
        if chain == Chain::Fixed(Fixed::Firewall) {
            self.expected.firewall.push(self.digester.rule(chain, rule));
        }
    }
}

/// Counts what `iptables-save` prints.
#[derive(Debug)]
pub(crate) struct Census<'e> {
    digester: &'e Digester,
    /// What has not been seen yet.
    missing: Expected,
    table: Option<Table>,
    words: Vec<String>,
    rules: Rules,
}

impl<'e> Census<'e> {
    pub(crate) fn new(digester: &'e Digester, expected: &Expected) -> Self {
        // Those of ours in `KUBE-FIREWALL` are counted with the others when rules are written.
        let rules = Rules { filter: expected.firewall.len(), nat: 0 };
        Self { digester, missing: expected.clone(), table: None, words: Vec::new(), rules }
    }

    /// Takes in one line.
    pub(crate) fn read(&mut self, line: &str) {
        match (read(line), self.table) {
            (Saved::Table(table), _) => self.table = table,
            (Saved::Chain(name), Some(table)) => {
                if let Some(Chain::Fixed(found)) = Chain::parse(name) {
                    self.missing.chains.retain(|chain| *chain != (table, found));
                }
            }
            (Saved::Rule { chain, rule }, Some(table)) => {
                if let Some(chain) = Chain::parse(chain) {
                    self.rule(table, chain, rule);
                }
            }
            _ => {}
        }
    }

    fn rule(&mut self, table: Table, chain: Chain, text: &str) {
        match (chain, table) {
            (Chain::BuiltIn(from), _) => {
                if let Some(digest) = self.digest(chain, text) {
                    self.missing.digests.retain(|jump| *jump != (table, from, digest));
                }
            }
            (Chain::Fixed(Fixed::Firewall), Table::Filter) => {
                if let Some(digest) = self.digest(chain, text) {
                    self.missing.firewall.retain(|rule| *rule != digest);
                }
            }
            (_, Table::Mangle) | (Chain::Own(..), Table::Filter) => {}
            (Chain::Fixed(chain), _) if !chain.is_in(table) => {}
            (_, Table::Filter) => self.rules.filter += 1,
            (_, Table::Nat) => self.rules.nat += 1,
        }
    }

    fn digest(&mut self, chain: Chain, text: &str) -> Option<u64> {
        let rule = words(text, &mut self.words).and_then(parse)?;
        Some(self.digester.rule(chain, &rule))
    }

    /// Whether all is there, and as many rules as these.
    pub(crate) fn finds(&self, rules: Rules) -> bool {
        let Expected { digests, firewall, chains, .. } = &self.missing;
        digests.is_empty() && firewall.is_empty() && chains.is_empty() && self.rules == rules
    }
}
