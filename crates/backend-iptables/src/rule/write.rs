//! Formats a rule with its words in kube-proxy's order.

use std::fmt;

use super::{Body, Interface, Is, Mark, Rule, States, Target};
use crate::rule::{Recent, RecentAction};

/// The words after the chain's name, with a leading space.
///
/// All of kube-proxy's rules have one order, except those for new connections in built-in chains, where the state
/// comes before the comment.
impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = &self.body;
        let is_new = body.state == Some(Is::Just(States::NEW));
        if is_new {
            f.write_str(" -m conntrack --ctstate NEW")?;
        }
        if !self.comment.is_none() {
            write!(f, " -m comment --comment {}", self.comment.word())?;
        }
        body.matches_before_packet(f)?;
        body.packet(f)?;
        if let Some(state) = body.state.filter(|_| !is_new) {
            write!(f, " -m conntrack{} --ctstate {}", state.not(), state.value())?;
        }
        if let Some(name) = body.counter {
            write!(f, " -m nfacct --nfacct-name {name}")?;
        }
        body.target.map_or(Ok(()), |target| write!(f, " -j {target}"))
    }
}

impl Body<'_> {
    fn matches_before_packet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from_this_node || self.to_this_node {
            f.write_str(" -m addrtype")?;
        }
        if self.from_this_node {
            f.write_str(" --src-type LOCAL")?;
        }
        if self.to_this_node {
            f.write_str(" --dst-type LOCAL")?;
        }
        if let Some(probability) = self.probability {
            write!(f, " -m statistic --mode random --probability {:.10}", probability.written)?;
        }
        match self.recent {
            None => Ok(()),
            Some(Recent { list, action: RecentAction::Set }) => write!(f, " -m recent --name {list} --set"),
            Some(Recent { list, action: RecentAction::SeenWithin(seconds) }) => {
                write!(f, " -m recent --name {list} --rcheck --seconds {seconds} --reap")
            }
        }
    }

    fn packet(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(protocol) = self.protocol {
            write!(f, " -m {protocol} -p {protocol}")?;
        }
        if let Some(net) = self.destination {
            write!(f, "{} -d {}", net.not(), Short(net.value()))?;
        }
        if let Some(port) = self.destination_port {
            write!(f, " --dport {port}")?;
        }
        if let Some(net) = self.source {
            write!(f, "{} -s {}", net.not(), Short(net.value()))?;
        }
        if let Some(interface) = self.interface {
            write!(f, "{} -i {}", interface.not(), interface.value())?;
        }
        self.mark.map_or(Ok(()), |mark| write!(f, " -m mark{} --mark {}", mark.not(), mark.value()))
    }
}

/// A network; a single address without its prefix length.
struct Short(ipnet::IpNet);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl<T: Copy> Is<T> {
    fn not(&self) -> &'static str {
        match self {
            Self::Just(_) => "",
            Self::Not(_) => " !",
        }
    }

    fn value(&self) -> T {
        match self {
            Self::Just(value) | Self::Not(value) => *value,
        }
    }
}

impl fmt::Display for Interface<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        f.write_str(if self.is_prefix { "+" } else { "" })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}/{:#010x}", self.value, self.mask)
    }
}

impl fmt::Display for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (_, name) in Self::NAMES.iter().filter(|(state, _)| self.0 & state.0 != 0) {
            write!(f, "{separator}{name}")?;
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump(chain) => chain.fmt(f),
            Self::Accept => f.write_str("ACCEPT"),
            Self::Drop => f.write_str("DROP"),
            Self::Return => f.write_str("RETURN"),
            Self::Reject => f.write_str("REJECT"),
            Self::SetXmark(mark) if mark.value == mark.mask => {
                write!(f, "MARK --or-mark {:#010x}", mark.value)
            }
            Self::SetXmark(mark) if mark.mask == 0 => write!(f, "MARK --xor-mark {:#010x}", mark.value),
            Self::SetXmark(mark) => write!(f, "MARK --set-xmark {mark}"),
            Self::Masquerade { random_fully: false } => f.write_str("MASQUERADE"),
            Self::Masquerade { random_fully: true } => f.write_str("MASQUERADE --random-fully"),
            Self::Dnat(endpoint) => write!(f, "DNAT --to-destination {endpoint}"),
        }
    }
}
