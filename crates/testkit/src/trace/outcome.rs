//! What becomes of a packet.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_nft::{Bytes, TableId};

use super::{Probability, Source, Step, TraceError, Translation, Work};

/// How a packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// By an ICMP error: port unreachable.
    Icmp,
    /// By a TCP reset.
    TcpReset,
}

/// What becomes of a packet in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It got through the tables, to the node itself or on to somewhere else.
    Delivered {
        /// Whom it reaches; its own destination, unless it was translated.
        to: SocketAddr,
        /// Whom the receiver sees.
        source: Source,
        /// The mark it has in the end.
        mark: u32,
    },
    /// It is rejected with an error to its sender.
    Refused(Refusal),
    /// It is dropped without an answer.
    Dropped,
}

/// Whether a dynamic set had an element before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Novelty {
    /// It is new.
    Added,
    /// It was there and keeps its data; only its time starts anew.
    Refreshed,
}

/// An element that a packet puts into a dynamic set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Learned {
    /// The set's table.
    pub table: TableId,
    /// The set's name.
    pub set: Arc<str>,
    /// Its key.
    pub key: Bytes,
    /// What the key maps to; nothing in plain sets.
    pub data: Option<Bytes>,
    /// How long it lives from now on; nothing in sets whose elements live for ever.
    pub lifetime: Option<Duration>,
    /// Whether it was there before.
    pub novelty: Novelty,
    /// The element in nft's words.
    pub text: String,
}

impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.novelty {
            Novelty::Added => "adds",
            Novelty::Refreshed => "refreshes",
        };
        write!(f, "{verb} {} {} {{ {} }}", self.table, self.set, self.text)
    }
}

/// One thing that may become of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The end of its way.
    pub fate: Fate,
    /// How its connection's packets are changed. Decided before the end of the way, so a packet
    /// that is dropped or refused may have been translated as well.
    pub translation: Translation,
    /// What it puts into dynamic sets, in this order. Stays there whatever becomes of the packet.
    pub learned: Vec<Learned>,
    /// How likely this outcome is.
    pub probability: Probability,
    /// What the way cost the kernel; where several ways lead to this outcome, a likely one.
    pub work: Work,
    /// The rules on the way; where several ways lead to this outcome, those of a likely one.
    pub path: Vec<Step>,
}

impl Outcome {
    /// Whether its destination was translated (`ct status dnat`).
    pub fn is_translated(&self) -> bool {
        self.translation.destination.is_some()
    }
}

/// The outcome, its probability, and the rules on the way.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fate {
            Fate::Delivered { to, source, mark } => {
                let how = if self.is_translated() { "translated to" } else { "delivered to" };
                write!(f, "{how} {to}")?;
                if source == Source::Masqueraded {
                    f.write_str(", masqueraded")?;
                }
                if mark != 0 {
                    write!(f, ", mark {mark:#010x}")?;
                }
            }
            Fate::Refused(Refusal::Icmp) => f.write_str("refused by an ICMP error")?,
            Fate::Refused(Refusal::TcpReset) => f.write_str("refused by a TCP reset")?,
            Fate::Dropped => f.write_str("dropped")?,
        }
        writeln!(f, ", probability {}", self.probability)?;
        self.learned.iter().try_for_each(|learned| writeln!(f, "    {learned}"))?;
        self.path.iter().try_for_each(|step| writeln!(f, "    {step}"))
    }
}

/// All that may become of a packet; the probabilities add up to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcomes(pub(super) Vec<Outcome>);

impl Outcomes {
    /// The outcomes, no two of them alike.
    pub fn iter(&self) -> std::slice::Iter<'_, Outcome> {
        self.0.iter()
    }

    /// The outcome, if there is just one.
    pub fn only(&self) -> Option<&Outcome> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whom the packet may reach, its own destination included if it may pass untranslated.
    pub fn endpoints(&self) -> BTreeSet<SocketAddr> {
        self.0.iter().filter_map(Outcome::endpoint).collect()
    }

    /// Whether it is refused, one way or the other, whatever is drawn.
    pub fn is_refused(&self) -> bool {
        self.0.iter().all(|outcome| matches!(outcome.fate, Fate::Refused(_)))
    }

    /// Whether it is dropped whatever is drawn.
    pub fn is_dropped(&self) -> bool {
        self.0.iter().all(|outcome| outcome.fate == Fate::Dropped)
    }

    /// Whether it reaches its own destination, untranslated and from its own source, whatever is drawn.
    pub fn is_untouched(&self) -> bool {
        let untouched = Translation { destination: None, source: Source::Kept };
        self.0.iter().all(|outcome| outcome.endpoint().is_some() && outcome.translation == untouched)
    }

    /// How likely it is that `condition` holds.
    ///
    /// # Errors
    /// [`TraceError::TooFine`]: the sum is no fraction of 64-bit numbers.
    pub fn probability(&self, condition: impl Fn(&Outcome) -> bool) -> Result<Probability, TraceError> {
        let fitting = self.0.iter().filter(|outcome| condition(outcome));
        fitting.map(|outcome| outcome.probability).try_fold(Probability::ZERO, Probability::or)
    }
}

impl Outcome {
    /// Whom the packet reaches, if it gets through.
    pub fn endpoint(&self) -> Option<SocketAddr> {
        match self.fate {
            Fate::Delivered { to, .. } => Some(to),
            Fate::Refused(_) | Fate::Dropped => None,
        }
    }
}

impl<'a> IntoIterator for &'a Outcomes {
    type Item = &'a Outcome;
    type IntoIter = std::slice::Iter<'a, Outcome>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Every outcome with its path, for the message of a failed assertion.
impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|outcome| write!(f, "{outcome}"))
    }
}
