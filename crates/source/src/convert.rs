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
use portolan_core::Event;
use portolan_core::address::{IpFamily, Protocol, parse_cidr, parse_ip};
use portolan_core::event::{Change, Hints, Object};
use portolan_core::name::{Interner, Name, ObjectName};
use serde::Deserialize;

use crate::decode::{Malformed, PartialName};
use crate::wire::{Metadata, Text};

mod endpoints;
mod node;
mod service;
mod slice;
#[cfg(test)]
mod tests;

/// A kind of object that a source delivers.
pub(crate) trait Resource: Object<Key: Key> + Clone + PartialEq + Send + Sync + 'static {
    /// Its kind, as Kubernetes spells it.
    const KIND: &'static str;
    /// Path of its collection in the API.
    const PATH: &'static str;
    /// Whether a server may lack the kind. A proxy works without it.
    const OPTIONAL: bool = false;
    /// The event for a change of such an object.
    const EVENT: fn(Change<Self>) -> Event;
    /// The object as it comes over the wire.
    type Wire<'a>: Deserialize<'a>;

    /// Its metadata.
    fn metadata<'a, 'w>(wire: &'a Self::Wire<'w>) -> &'a Metadata<'w>;

    /// Converts a wire object.
    ///
    /// # Errors
    /// The object has no name.
    fn convert(converter: &mut Converter, wire: &Self::Wire<'_>) -> Result<Converted<Self>, Malformed>;
}

/// The key of an object.
pub(crate) trait Key: Sized + Send + Sync {
    /// The key of this namespace and name; nothing when a part is missing.
    fn of(namespace: Option<&str>, name: Option<&str>) -> Option<Self>;
}

impl Key for ObjectName {
    fn of(namespace: Option<&str>, name: Option<&str>) -> Option<Self> {
        Some(Self::new(namespace?, name?))
    }
}

impl Key for Name {
    fn of(_: Option<&str>, name: Option<&str>) -> Option<Self> {
        name.map(Self::from)
    }
}

/// What an object means to the proxy.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Converted<T: Object> {
    /// It is to be proxied and looks like this.
    Proxied(T),
    /// It exists, and this proxy does not serve it.
    NotProxied(T::Key),
}

/// What is wrong with one entry of an object. In most cases the entry is left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {object}: {field}: {reason}")]
pub(crate) struct Problem {
    /// Kind of the object, as Kubernetes spells it.
    pub(crate) kind: &'static str,
    /// Its namespace and name, or its name.
    pub(crate) object: String,
    /// Path of the entry, such as `spec.externalIPs[1]`.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) reason: String,
    /// Whether the API server rejects objects with such an entry. Otherwise the entry is valid and not used by a
    /// proxy.
    pub(crate) is_invalid: bool,
}

/// Where objects come from, which decides what may be missing in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An API server, which has filled in every default.
    Api,
    /// Files, in which the defaults of the API may be missing.
    Manifest,
}

/// The namespace of an object in a file that names none, as for `kubectl`.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// Below this many different hints unused ones are not removed.
const MIN_HINTS: usize = 256;

const FAMILIES: [(&str, IpFamily); 2] = [("IPv4", IpFamily::V4), ("IPv6", IpFamily::V6)];

const PROTOCOLS: [(&str, Protocol); 3] =
    [("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];

/// Makes the core's objects, sharing the strings and hints that repeat.
#[derive(Debug)]
pub(crate) struct Converter {
    origin: Origin,
    interner: Arc<Mutex<Interner>>,
    hints: HashSet<Arc<Hints>>,
    /// The number of hints at which unused ones are removed.
    max_hints: usize,
    problems: Vec<Problem>,
}

impl Converter {
    /// A converter that shares names with all others on the same `interner`.
    pub(crate) fn new(origin: Origin, interner: Arc<Mutex<Interner>>) -> Self {
        Self { origin, interner, hints: HashSet::new(), max_hints: MIN_HINTS, problems: Vec::new() }
    }

    /// The problems of the objects converted since the last call.
    pub(crate) fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    /// Namespace and name of a namespaced object.
    fn object_name(&self, kind: &'static str, metadata: &Metadata<'_>) -> Result<ObjectName, Malformed> {
        let namespace = match (text(metadata.namespace.as_ref()), self.origin) {
            (Some(namespace), _) => namespace,
            (None, Origin::Manifest) => DEFAULT_NAMESPACE,
            (None, Origin::Api) => return Err(missing(kind, metadata, "metadata.namespace")),
        };
        let name = cluster_name(kind, metadata)?;
        Ok(ObjectName { namespace: self.intern(namespace), name })
    }

    fn intern(&self, text: &str) -> Name {
        // A panic elsewhere cannot leave a table of strings half-changed in a way that matters.
        self.interner.lock().unwrap_or_else(PoisonError::into_inner).intern(text)
    }

    /// The name in a field, unless it is absent or empty.
    fn name(&self, field: Option<&Text<'_>>) -> Option<Name> {
        text(field).map(|name| self.intern(name))
    }

    /// Gives equal hints one allocation: a slice's endpoints mostly repeat a few.
    fn share_hints(&mut self, hints: Hints) -> Arc<Hints> {
        if let Some(known) = self.hints.get(&hints) {
            return Arc::clone(known);
        }
        if self.hints.len() >= self.max_hints {
            self.hints.retain(|hints| Arc::strong_count(hints) > 1);
            self.max_hints = (2 * self.hints.len()).max(MIN_HINTS);
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
        name: PartialName::from(metadata),
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

/// Collects the problems of one object, for its converter.
struct ObjectReport<'a> {
    converter: &'a mut Converter,
    kind: &'static str,
    object: &'a dyn Display,
}

impl ObjectReport<'_> {
    fn is_manifest(&self) -> bool {
        self.converter.origin == Origin::Manifest
    }

    /// Leaves out an entry that the API server rejects.
    fn skip(&mut self, field: impl Display, reason: impl Display) {
        self.report(field, reason, true);
    }

    /// Leaves out an entry that is valid and not used by a proxy.
    fn skip_valid(&mut self, field: impl Display, reason: impl Display) {
        self.report(field, reason, false);
    }

    fn report(&mut self, field: impl Display, reason: impl Display, is_invalid: bool) {
        self.converter.problems.push(Problem {
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
