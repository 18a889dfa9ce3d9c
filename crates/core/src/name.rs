//! Names of Kubernetes objects, shared instead of copied.
//!
//! A cluster repeats few names very often (namespaces, node names, zones, port
//! names), so a [`Name`] is a counted reference and an [`Interner`] gives equal
//! strings the same allocation.

use std::collections::HashSet;
use std::fmt;

use arcstr::ArcStr;

use crate::address::Protocol;

/// A shared, immutable string: cloning one costs a counter, not a copy.
///
/// One takes eight bytes where an `Arc<str>` takes sixteen, for its length stands beside its text. Every
/// table of Services, slices and plans is keyed by two or three of them.
pub type Name = ArcStr;

/// Namespace and name of one namespaced object, whatever its kind.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// Namespace the object lives in.
    pub namespace: Name,
    /// Name, unique per kind in its namespace.
    pub name: Name,
}

impl ObjectName {
    /// Names an object from its two parts.
    pub fn new(namespace: impl Into<Name>, name: impl Into<Name>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Identity of one port of one Service: what plans and change sets are keyed by.
///
/// A port keeps its identity while its number changes; another port name or
/// protocol makes it another port, as in kube-proxy.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServicePortName {
    /// The Service.
    pub service: ObjectName,
    /// Name of the port; empty for the only port of a Service that names none.
    pub port: Name,
    /// Layer-4 protocol.
    pub protocol: Protocol,
}

/// `namespace/name:port`, or `namespace/name` when the port has no name, as kube-proxy writes it.
impl fmt::Display for ServicePortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.service.fmt(f)?;
        if !self.port.is_empty() {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ServicePortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {}", self.protocol)
    }
}

/// Gives equal strings one allocation.
///
/// Holds on to a name until [`Interner::forget_unused`] finds that nobody else
/// does, so that node names of a cluster that grows and shrinks for months do
/// not pile up.
#[derive(Debug, Default)]
pub struct Interner {
    names: HashSet<Name>,
    sweep_at: usize,
}

/// Below this many names a sweep is not worth its walk.
const SMALLEST_SWEEP: usize = 1024;

impl Interner {
    /// Returns the shared form of `text`.
    pub fn intern(&mut self, text: &str) -> Name {
        if let Some(name) = self.names.get(text) {
            return Name::clone(name);
        }
        if self.names.len() >= self.sweep_at.max(SMALLEST_SWEEP) {
            self.forget_unused();
        }
        let name = Name::from(text);
        self.names.insert(Name::clone(&name));
        name
    }

    /// Drops the names that nobody else holds.
    ///
    /// Runs by itself whenever the table has doubled, so interning stays O(1) on average.
    pub fn forget_unused(&mut self) {
        // Names without a count are part of the program, and not made here.
        self.names.retain(|name| Name::strong_count(name).is_none_or(|holders| holders > 1));
        self.sweep_at = self.names.len() * 2;
    }

    /// Number of different names held.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no name is held.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_share_one_allocation() {
        let mut interner = Interner::default();
        let (a, b) = (interner.intern("node-1"), interner.intern("node-1"));
        assert!(Name::ptr_eq(&a, &b));
        assert_eq!(interner.len(), 1);
    }

    #[test]
    fn names_nobody_holds_are_forgotten_once_the_table_has_grown() {
        let mut interner = Interner::default();
        for i in 0..10 * SMALLEST_SWEEP {
            interner.intern(&format!("node-{i}"));
        }
        assert!(interner.len() <= SMALLEST_SWEEP, "{} names held", interner.len());
    }

    #[test]
    fn a_port_without_a_name_prints_as_its_service() {
        let unnamed = ServicePortName {
            service: ObjectName::new("shop", "cart"),
            port: "".into(),
            protocol: Protocol::Tcp,
        };
        let named = ServicePortName { port: "grpc".into(), ..unnamed.clone() };
        assert_eq!(unnamed.to_string(), "shop/cart");
        assert_eq!(named.to_string(), "shop/cart:grpc");
    }
}
