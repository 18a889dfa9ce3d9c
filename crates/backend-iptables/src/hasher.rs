//! Hashes of rules, to compare what `iptables-save` prints with a plan without holding either as text.
//!
//! The key is random, so users cannot create rules that collide. Hashes are valid within one process only.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};

use crate::names::Chain;
use crate::rule::Rule;

/// Hashes the rules of one family.
#[derive(Debug, Default)]
pub(crate) struct RuleHasher(RandomState);

/// The rules of a chain, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ChainHash {
    hash: u64,
    /// Number of its rules.
    pub(crate) rules: usize,
}

impl RuleHasher {
    /// The hash of a rule in `chain`.
    ///
    /// In chains of one service port comments do not count, since large clusters go without them.
    pub(crate) fn rule(&self, chain: Chain, rule: &Rule<'_>) -> u64 {
        let mut hasher = self.0.build_hasher();
        rule.body.hash(&mut hasher);
        if !matches!(chain, Chain::Own(..)) {
            hasher.write(rule.comment.text().as_bytes());
        }
        hasher.finish()
    }

    /// The hash of a rule that cannot be parsed. No rendered rule has it.
    pub(crate) fn unknown(&self, line: &str) -> u64 {
        self.0.hash_one(("unknown", line))
    }

    /// The hash of a chain with these rules.
    pub(crate) fn chain<'r>(&self, chain: Chain, rules: impl IntoIterator<Item = &'r Rule<'r>>) -> ChainHash {
        let mut all = ChainHash::default();
        for rule in rules {
            self.append(&mut all, self.rule(chain, rule));
        }
        all
    }

    /// Adds a rule to the end of a chain, by its hash.
    pub(crate) fn append(&self, chain: &mut ChainHash, rule: u64) {
        chain.hash = self.0.hash_one((chain.hash, rule));
        chain.rules += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comment::Comment;
    use crate::names::Fixed;
    use crate::rule::{Body, Target};

    fn rule(comment: &str, target: Target) -> Rule<'_> {
        let body = Body { target: Some(target), ..Body::default() };
        Rule { comment: Comment::Text(comment), body }
    }

    #[test]
    fn comments_count_in_lists_and_not_in_chains_of_one_service_port() {
        let hasher = RuleHasher::default();
        let own = Chain::parse("KUBE-SVC-XPGD46QRK7WJZT7O").unwrap();
        let list = Chain::Fixed(Fixed::Services);
        let (one, other) = (rule("a", Target::Drop), rule("b", Target::Drop));
        assert_eq!(hasher.rule(own, &one), hasher.rule(own, &other));
        assert_ne!(hasher.rule(list, &one), hasher.rule(list, &other));
        assert_eq!(hasher.rule(list, &one), hasher.rule(list, &rule("a", Target::Drop)));
        assert_ne!(hasher.rule(own, &one), hasher.rule(own, &rule("a", Target::Accept)));
    }

    #[test]
    fn chains_with_the_same_rules_in_the_same_order_are_equal() {
        let hasher = RuleHasher::default();
        let of = |rules: &[u64]| {
            let mut chain = ChainHash::default();
            for rule in rules {
                hasher.append(&mut chain, *rule);
            }
            chain
        };
        assert_eq!(of(&[1, 2]), of(&[1, 2]));
        assert_ne!(of(&[1, 2]), of(&[2, 1]));
        assert_ne!(of(&[1]), of(&[1, 1]));
        assert_ne!(of(&[]), of(&[0]));
    }
}
