//! Input for `iptables-restore --noflush`, as text.
//!
//! A table keeps the chains that its section does not name. A chain that is declared is created, or emptied if it
//! exists; so declaring a chain and appending its rules replaces it. The whole section of a table takes effect at
//! once, at its `COMMIT`.

use std::fmt::{self, Write as _};

use crate::names::Chain;
use crate::rule::Rule;

/// Lines of one table's section, without those that begin and commit it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(String);

impl Lines {
    /// Creates a chain, or empties it.
    pub fn declare(&mut self, chain: Chain) {
        self.line(format_args!(":{chain} - [0:0]"));
    }

    /// Adds rules to the end of a chain.
    pub fn append(&mut self, chain: Chain, rules: &[Rule<'_>]) {
        for rule in rules {
            self.line(format_args!("-A {chain}{rule}"));
        }
    }

    /// Adds a rule to the top of a chain. A rule displays with a leading space.
    pub fn insert(&mut self, chain: Chain, rule: impl fmt::Display) {
        self.line(format_args!("-I {chain}{rule}"));
    }

    /// Deletes the first rule in a chain that is equal to this; there must be one.
    pub fn delete(&mut self, chain: Chain, rule: impl fmt::Display) {
        self.line(format_args!("-D {chain}{rule}"));
    }

    /// Removes a chain, which must be empty and the target of no rule.
    pub fn remove(&mut self, chain: Chain) {
        self.line(format_args!("-X {chain}"));
    }

    /// Adds these lines at the end.
    pub fn extend(&mut self, lines: &Self) {
        self.0.push_str(&lines.0);
    }

    /// The lines, each with its line feed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comment::Comment;
    use crate::names::Fixed;
    use crate::rule::{Body, Target};

    #[test]
    fn every_command_is_a_line() {
        let list = Chain::Fixed(Fixed::Services);
        let body = Body { target: Some(Target::Drop), ..Body::default() };
        let rule = Rule { comment: Comment::Text("ns/web has no local endpoints"), body };
        let mut lines = Lines::default();
        lines.declare(list);
        lines.append(list, &[rule]);
        lines.insert(list, rule);
        lines.delete(list, rule);
        lines.remove(list);
        let expected = r#":KUBE-SERVICES - [0:0]
-A KUBE-SERVICES -m comment --comment "ns/web has no local endpoints" -j DROP
-I KUBE-SERVICES -m comment --comment "ns/web has no local endpoints" -j DROP
-D KUBE-SERVICES -m comment --comment "ns/web has no local endpoints" -j DROP
-X KUBE-SERVICES
"#;
        assert_eq!(lines.as_str(), expected);
    }
}
