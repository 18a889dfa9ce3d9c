//! Converts Kubernetes objects into those of the core, by kube-proxy's rules.
//!
//! Pure: no I/O, no clock, no log. What is left out of an object is returned as a list of [`Problem`]s, for the source
//! to log and count.
//!
//! There are two kinds of failure. An object of the wrong *shape* is [`Malformed`] and yields nothing. An entry with a
//! bad *value* (an invalid address, an unknown protocol) is left out and the rest of the object is used, as in
//! kube-proxy. Objects of an API server have passed its validation; those of files have not. So a source of files
//! rejects an object for an invalid entry, as a server does.

use std::collections::HashSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ipnet::IpNet;
use portolan_core::address::{IpFamily, Protocol, parse_cidr, parse_ip};
use portolan_core::event::{Hints, Object};
use portolan_core::name::{Interner, Name, ObjectName};

use crate::decode::{Identity, Malformed};
use crate::wire::{Metadata, Text};

mod endpoints;
mod node;
mod service;
mod slice;
#[cfg(test)]
mod tests;

/// What an object means to the proxy.
#[derive(Debug, Clone, PartialEq)]
pub enum Converted<T: Object> {
    /// It is to be proxied and looks like this.
    Proxied(T),
    /// It exists, and this proxy does not serve it.
    NotProxied(T::Key),
}

/// What is wrong with one entry of an object. In most cases the entry is left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {object}: {field}: {reason}")]
pub struct Problem {
    /// Kind of the object, as Kubernetes spells it.
    pub kind: &'static str,
    /// Its namespace and name, or its name.
    pub object: String,
    /// Path of the entry, such as `spec.externalIPs[1]`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
    /// Whether the API server rejects objects with such an entry. Otherwise the entry is valid and not used by a
    /// proxy.
    pub is_invalid: bool,
}

/// Where objects come from, which decides what may be missing in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An API server, which has filled in every default.
    Api,
    /// Files, in which the defaults of the API may be missing.
    Manifest,
}

/// Makes the core's objects, sharing the strings that repeat.
#[derive(Debug)]
pub struct Converter {
    origin: Origin,
    shared: Shared,
    problems: Vec<Problem>,
}

/// What the objects of a source have in common.
#[derive(Debug)]
struct Shared {
    interner: Arc<Mutex<Interner>>,
    hints: HashSet<Arc<Hints>>,
    sweep_hints_at: usize,
}

/// The namespace of an object in a file that names none, as for `kubectl`.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// Below this many different hints a sweep is not worth its walk.
const SMALLEST_HINTS_SWEEP: usize = 256;

const FAMILIES: [(&str, IpFamily); 2] = [("IPv4", IpFamily::V4), ("IPv6", IpFamily::V6)];

const PROTOCOLS: [(&str, Protocol); 3] =
    [("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];

impl Converter {
    /// A converter that shares names with all others on the same `interner`.
    pub fn new(origin: Origin, interner: Arc<Mutex<Interner>>) -> Self {
        let shared = Shared { interner, hints: HashSet::new(), sweep_hints_at: SMALLEST_HINTS_SWEEP };
        Self { origin, shared, problems: Vec::new() }
    }

    /// What was left out of the objects converted since the last call.
    pub fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    /// What converting one object needs.
    fn begin<'a>(&'a mut self, kind: &'static str, object: &'a dyn Display) -> (Report<'a>, &'a mut Shared) {
        let Self { origin, shared, problems } = self;
        (Report { kind, object, origin: *origin, problems }, shared)
    }

    /// Namespace and name of a namespaced object.
    fn object_name(&self, kind: &'static str, metadata: &Metadata<'_>) -> Result<ObjectName, Malformed> {
        let namespace = match (text(metadata.namespace.as_ref()), self.origin) {
            (Some(namespace), _) => namespace,
            (None, Origin::Manifest) => DEFAULT_NAMESPACE,
            (None, Origin::Api) => return Err(missing(kind, metadata, "metadata.namespace")),
        };
        let name = cluster_name(kind, metadata)?;
        Ok(ObjectName { namespace: self.shared.intern(namespace), name })
    }
}

impl Shared {
    fn intern(&self, text: &str) -> Name {
        // A panic elsewhere cannot leave a table of strings half-changed in a way that matters.
        self.interner.lock().unwrap_or_else(PoisonError::into_inner).intern(text)
    }

    /// The name in a field, unless it is absent or empty.
    fn name(&self, field: Option<&Text<'_>>) -> Option<Name> {
        text(field).map(|name| self.intern(name))
    }

    /// Gives equal hints one allocation: a slice's endpoints mostly repeat a few.
    fn hints(&mut self, hints: Hints) -> Arc<Hints> {
        if let Some(known) = self.hints.get(&hints) {
            return Arc::clone(known);
        }
        if self.hints.len() >= self.sweep_hints_at {
            self.hints.retain(|hints| Arc::strong_count(hints) > 1);
            self.sweep_hints_at = (2 * self.hints.len()).max(SMALLEST_HINTS_SWEEP);
        }
        let hints = Arc::new(hints);
        self.hints.insert(Arc::clone(&hints));
        hints
    }
}

/// Name of an object.
fn cluster_name(kind: &'static str, metadata: &Metadata<'_>) -> Result<Name, Malformed> {
    text(metadata.name.as_ref()).map(Name::from).ok_or_else(|| missing(kind, metadata, "metadata.name"))
}

fn missing(kind: &'static str, metadata: &Metadata<'_>, field: &str) -> Malformed {
    Malformed {
        kind,
        name: Identity::from(metadata),
        field: field.to_owned(),
        reason: "is missing".to_owned(),
    }
}

/// The text of a field, unless it is absent or empty, which mean the same in Kubernetes.
fn text<'a>(field: Option<&'a Text<'_>>) -> Option<&'a str> {
    field.map(|text| &**text).filter(|text| !text.is_empty())
}

fn timestamp(field: Option<&Text<'_>>) -> Option<SystemTime> {
    text(field)?.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}

/// Collects the problems of one object.
struct Report<'a> {
    kind: &'static str,
    object: &'a dyn Display,
    origin: Origin,
    problems: &'a mut Vec<Problem>,
}

impl Report<'_> {
    /// Leaves out an entry that the API server rejects.
    fn skip(&mut self, field: impl Display, reason: impl Display) {
        self.report(field, reason, true);
    }

    /// Leaves out an entry that is valid and not used by a proxy.
    fn skip_valid(&mut self, field: impl Display, reason: impl Display) {
        self.report(field, reason, false);
    }

    fn report(&mut self, field: impl Display, reason: impl Display, is_invalid: bool) {
        self.problems.push(Problem {
            kind: self.kind,
            object: self.object.to_string(),
            field: field.to_string(),
            reason: reason.to_string(),
            is_invalid,
        });
    }

    /// The value of an enumeration. The first known one is the default, when the field is absent or, after a report,
    /// unknown.
    fn value<T: Copy>(&mut self, field: impl Display, given: Option<&Text<'_>>, known: &[(&str, T)]) -> T {
        text(given).and_then(|given| self.known_value(field, given, known)).unwrap_or(known[0].1)
    }

    fn known_value<T: Copy>(&mut self, field: impl Display, given: &str, known: &[(&str, T)]) -> Option<T> {
        let value = known.iter().find(|(name, _)| *name == given).map(|(_, value)| *value);
        if let (None, [names @ .., (last, _)]) = (value, known) {
            let names = names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            self.skip(field, format_args!("unsupported value {given:?} (want {names} or {last})"));
        }
        value
    }

    /// Addresses of a list; blank entries are left out without a report.
    fn addresses<'t>(&mut self, field: &str, entries: impl Iterator<Item = &'t str>) -> Vec<IpAddr> {
        self.entries(field, entries, |entry| parse_ip(entry).map_err(|error| error.to_string()))
    }

    /// CIDRs of a list, whose entries may have blanks around them.
    fn cidrs<'t>(&mut self, field: &str, entries: impl Iterator<Item = &'t str>) -> Vec<IpNet> {
        self.entries(field, entries.map(str::trim), |entry| {
            parse_cidr(entry).map_err(|error| error.to_string())
        })
    }

    fn entries<'t, T>(
        &mut self,
        field: &str,
        entries: impl Iterator<Item = &'t str>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut parsed = Vec::with_capacity(entries.size_hint().0);
        for (index, entry) in entries.enumerate().filter(|(_, entry)| !entry.trim().is_empty()) {
            match parse(entry) {
                Ok(value) => parsed.push(value),
                Err(reason) => self.skip(format_args!("{field}[{index}]"), reason),
            }
        }
        parsed
    }

    /// The protocol of the port in `field`, TCP when absent; nothing after a report that the port cannot be used.
    fn protocol(&mut self, field: impl Display, port: u16, protocol: Option<&Text<'_>>) -> Option<Protocol> {
        if port == 0 {
            self.skip(format_args!("{field}.port"), "0 is no port");
            return None;
        }
        text(protocol).map_or(Some(Protocol::Tcp), |protocol| {
            self.known_value(format_args!("{field}.protocol"), protocol, &PROTOCOLS)
        })
    }
}
