//! Turns Kubernetes objects into the core's, by kube-proxy's rules.
//!
//! Pure: no I/O, no clock, no log. What had to be left out of an object comes back
//! as a list of [`Problem`]s, for the source to log and count.
//!
//! Two failures are kept apart. An object of the wrong *shape* is [`Malformed`] and
//! yields nothing; an entry with a bad *value* (an address nobody can parse, an
//! unknown protocol) is left out and the rest of the object counts, as in kube-proxy.
//! Objects of an API server have passed its validation; those of files have not, so
//! that a source of files refuses an object for an invalid entry as a server does.

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
use crate::wire::{Meta, Text};

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
    /// It exists and is none of the proxy's business.
    NotProxied(T::Key),
}

/// What is wrong with one entry of an object, which mostly was left out for it.
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
    /// Whether the API server refuses objects with such an entry. Otherwise the entry is valid and means nothing
    /// here.
    pub is_invalid: bool,
}

/// Where objects come from, which decides what may be missing in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An API server, which has filled in every default.
    Api,
    /// Hand-written files: the defaults of the API are ours to fill in.
    Manifest,
}

/// Makes the core's objects, sharing the strings that repeat.
#[derive(Debug)]
pub struct Converter {
    interner: Arc<Mutex<Interner>>,
    hints: HashSet<Arc<Hints>>,
    sweep_hints_at: usize,
    origin: Origin,
    problems: Vec<Problem>,
}

/// Where an object of a file lives that names no namespace, as for `kubectl`.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// Below this many different hints a sweep is not worth its walk.
const SMALLEST_HINTS_SWEEP: usize = 256;

impl Converter {
    /// A converter that shares names with all others on the same `interner`.
    pub fn new(origin: Origin, interner: Arc<Mutex<Interner>>) -> Self {
        Self {
            interner,
            hints: HashSet::new(),
            sweep_hints_at: SMALLEST_HINTS_SWEEP,
            origin,
            problems: Vec::new(),
        }
    }

    /// What was left out of the objects converted since the last call.
    pub fn take_problems(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.problems)
    }

    fn intern(&self, text: &str) -> Name {
        // A panic elsewhere cannot leave a table of strings half-changed in a way that matters.
        self.interner.lock().unwrap_or_else(PoisonError::into_inner).intern(text)
    }

    /// Gives equal hints one allocation: a slice's endpoints mostly repeat a handful.
    fn share_hints(&mut self, hints: Hints) -> Arc<Hints> {
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

    /// Namespace and name of a namespaced object.
    fn object_name(&self, kind: &'static str, meta: &Meta<'_>) -> Result<ObjectName, Malformed> {
        let namespace = match (text(meta.namespace.as_ref()), self.origin) {
            (Some(namespace), _) => namespace,
            (None, Origin::Manifest) => DEFAULT_NAMESPACE,
            (None, Origin::Api) => return Err(nameless(kind, meta, "metadata.namespace")),
        };
        let name = text(meta.name.as_ref()).ok_or_else(|| nameless(kind, meta, "metadata.name"))?;
        Ok(ObjectName { namespace: self.intern(namespace), name: Name::from(name) })
    }

    /// Name of an object that lives in no namespace.
    fn cluster_name(kind: &'static str, meta: &Meta<'_>) -> Result<Name, Malformed> {
        text(meta.name.as_ref()).map(Name::from).ok_or_else(|| nameless(kind, meta, "metadata.name"))
    }
}

fn nameless(kind: &'static str, meta: &Meta<'_>, field: &str) -> Malformed {
    Malformed { kind, name: Identity::from(meta), field: field.to_owned(), reason: "is missing".to_owned() }
}

/// The text of a field, unless it is absent or empty, which Kubernetes does not tell apart.
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
    problems: &'a mut Vec<Problem>,
    /// Whether no entry makes the object invalid.
    is_lenient: bool,
}

impl<'a> Report<'a> {
    fn new(kind: &'static str, object: &'a dyn Display, problems: &'a mut Vec<Problem>) -> Self {
        Self { kind, object, problems, is_lenient: false }
    }

    /// The same for an object that is better taken in part than not at all.
    fn lenient(self) -> Self {
        Self { is_lenient: true, ..self }
    }

    /// Leaves out an entry that the API server refuses.
    fn skip(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.report(field.into(), reason.into(), !self.is_lenient);
    }

    /// Leaves out an entry that is valid and means nothing here.
    fn skip_valid(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.report(field.into(), reason.into(), false);
    }

    fn report(&mut self, field: String, reason: String, is_invalid: bool) {
        let object = self.object.to_string();
        self.problems.push(Problem { kind: self.kind, object, field, reason, is_invalid });
    }

    /// One of the words that a field can hold, or its default when it is absent or, after a report, unknown.
    fn word<T: Copy>(&mut self, field: &str, given: Option<&Text<'_>>, known: &[(&str, T)], default: T) -> T {
        let Some(given) = text(given) else { return default };
        if let Some((_, value)) = known.iter().find(|(word, _)| *word == given) {
            return *value;
        }
        let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
        self.skip(field, format!("unsupported value {given:?} (want {})", words.join(" or ")));
        default
    }

    /// Addresses of a list; blank entries are left out in silence.
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
                Err(reason) => self.skip(format!("{field}[{index}]"), reason),
            }
        }
        parsed
    }

    /// A protocol; TCP when absent, nothing when it is one that no proxy knows.
    fn protocol(&mut self, field: impl FnOnce() -> String, protocol: Option<&Text<'_>>) -> Option<Protocol> {
        match text(protocol) {
            None | Some("TCP") => Some(Protocol::Tcp),
            Some("UDP") => Some(Protocol::Udp),
            Some("SCTP") => Some(Protocol::Sctp),
            Some(other) => {
                self.skip(field(), format!("{other:?} is no protocol that can be proxied"));
                None
            }
        }
    }
}

/// The family that an `IPv4` or `IPv6` in the API stands for.
fn family(text: &str) -> Option<IpFamily> {
    match text {
        "IPv4" => Some(IpFamily::V4),
        "IPv6" => Some(IpFamily::V6),
        _ => None,
    }
}
