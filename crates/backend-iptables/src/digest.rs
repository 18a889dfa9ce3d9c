//! Rules as numbers: equal rules have equal ones.
//!
//! What is in the kernel is remembered as a number for each chain, not as text. The numbers hold for one
//! process only: the key is drawn at random, so that nobody can make rules on purpose that look alike.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};

use crate::names::Chain;
use crate::rule::Rule;

/// Makes the numbers of one family.
#[derive(Debug, Default)]
pub struct Digester(RandomState);

/// What a chain holds, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    digest: u64,
    /// Number of its rules.
    pub rules: u32,
}

impl Digester {
    /// The number of a rule, as `chain` tells rules apart.
    ///
    /// In a chain of one service port comments do not count: they say what the chain's name stands for,
    /// and in large clusters they are left out.
    pub fn rule(&self, chain: Chain, rule: &Rule<'_>) -> u64 {
        let mut hasher = self.0.build_hasher();
        rule.body.hash(&mut hasher);
        if !matches!(chain, Chain::Own(..)) {
            hasher.write(rule.comment.text().as_str().as_bytes());
        }
        hasher.finish()
    }

    /// The number of a rule that was not understood, which no rule of ours has.
    pub fn unknown(&self, line: &str) -> u64 {
        self.0.hash_one(("unknown", line))
    }

    /// Puts one more rule at the end.
    pub fn append(&self, contents: &mut Contents, rule: u64) {
        contents.digest = self.0.hash_one((contents.digest, rule));
        contents.rules += 1;
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
    fn comments_count_in_lists_of_all_service_ports_alone() {
        let digester = Digester::default();
        let own = Chain::parse("KUBE-SVC-XPGD46QRK7WJZT7O").unwrap();
        let list = Chain::Fixed(Fixed::Services);
        let (one, other) = (rule("a", Target::Drop), rule("b", Target::Drop));
        assert_eq!(digester.rule(own, &one), digester.rule(own, &other));
        assert_ne!(digester.rule(list, &one), digester.rule(list, &other));
        assert_eq!(digester.rule(list, &one), digester.rule(list, &rule("a", Target::Drop)));
        assert_ne!(digester.rule(own, &one), digester.rule(own, &rule("a", Target::Accept)));
    }

    #[test]
    fn contents_are_the_same_when_the_same_rules_stand_in_the_same_order() {
        let digester = Digester::default();
        let of = |rules: &[u64]| {
            let mut contents = Contents::default();
            for rule in rules {
                digester.append(&mut contents, *rule);
            }
            contents
        };
        assert_eq!(of(&[1, 2]), of(&[1, 2]));
        assert_ne!(of(&[1, 2]), of(&[2, 1]));
        assert_ne!(of(&[1]), of(&[1, 1]));
        assert_ne!(of(&[]), of(&[0]));
    }
}
