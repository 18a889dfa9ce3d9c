//! Names of Kubernetes objects, shared instead of copied.
//!
//! A cluster repeats few names very often (namespaces, node names, zones, port names), so a [`Name`] is a counted
//! reference, and an [`Interner`] gives equal strings the same allocation.

use std::collections::HashSet;
use std::fmt;

use arcstr::ArcStr;

use crate::address::Protocol;

/// A shared, immutable string: a clone increments a counter and copies no text.
///
/// It takes eight bytes where an `Arc<str>` takes sixteen, because the length is stored with the text. Every key of a
/// table of Services, slices or service ports has two or three of them.
pub type Name = ArcStr;

/// Namespace and name of a namespaced object of any kind.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// The object's namespace.
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

/// Identity of one port of one Service: the key of plans and change sets.
///
/// A port keeps its identity if its number changes; with another name or protocol it is another port, as in kube-proxy.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServicePortName {
    /// The Service.
    pub service: ObjectName,
    /// Name of the port; empty for the only port of a Service without port names.
    pub port: Name,
    /// Layer-4 protocol.
    pub protocol: Protocol,
}

/// `namespace/name:port`, or `namespace/name` if the port has no name, as in kube-proxy.
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
/// Keeps a name until a sweep finds no other reference to it, so that names of a cluster that grows and shrinks for
/// months do not accumulate.
#[derive(Debug, Default)]
pub struct Interner {
    names: HashSet<Name>,
    sweep_at: usize,
}

/// No sweep with fewer names than this.
const SMALLEST_SWEEP: usize = 1024;

impl Interner {
    /// Returns the shared form of `text`.
    pub fn intern(&mut self, text: &str) -> Name {
        if let Some(name) = self.names.get(text) {
            return Name::clone(name);
        }
        if self.names.len() >= self.sweep_at.max(SMALLEST_SWEEP) {
            self.remove_unused();
        }
        let name = Name::from(text);
        self.names.insert(Name::clone(&name));
        name
    }

    /// Removes the names without other references. Runs when the table has doubled, so interning is O(1) on average.
    fn remove_unused(&mut self) {
        // Static names have no count, and are not created here.
        self.names.retain(|name| Name::strong_count(name).is_none_or(|count| count > 1));
        self.sweep_at = self.names.len() * 2;
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no names.
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
    fn names_without_other_references_are_removed_once_the_table_has_doubled() {
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
