//! A rule as `iptables-save` prints it, whose spelling is not ours.

use std::fmt::Write as _;

use ipnet::IpNet;
use portolan_backend_iptables::rule::{Is, Mark, RecentAction, Rule, States, Target};
use portolan_core::IpFamily;

/// The words after the chain's name: addresses, interface and protocol first, then matches in the order in
/// which they were given, then the target.
pub(crate) fn saved(family: IpFamily, rule: &Rule<'_>) -> String {
    let mut text = String::new();
    addresses(&mut text, rule);
    let body = &rule.body;
    let is_new = body.state == Some(Is::Just(States::NEW));
    if is_new {
        text += " -m conntrack --ctstate NEW";
    }
    if !rule.comment.is_none() {
        write!(text, " -m comment --comment {}", quoted(&rule.comment.to_string())).unwrap();
    }
    matches(&mut text, family, rule);
    if let Some(protocol) = body.protocol {
        let port = body.destination_port.map(|port| format!(" --dport {port}"));
        write!(text, " -m {protocol}{}", port.unwrap_or_default()).unwrap();
    }
    if let Some(mark) = body.mark {
        let (not, mark) = negatable(mark);
        write!(text, " -m mark{not} --mark {}", short(mark)).unwrap();
    }
    if let Some(state) = body.state.filter(|_| !is_new) {
        let (not, state) = negatable(state);
        write!(text, " -m conntrack{not} --ctstate {state}").unwrap();
    }
    if let Some(counter) = body.counter {
        write!(text, " -m nfacct --nfacct-name  {counter}").unwrap();
    }
    if let Some(target) = body.target {
        write!(text, " -j {}", printed(family, target)).unwrap();
    }
    text
}

fn addresses(text: &mut String, rule: &Rule<'_>) {
    let body = &rule.body;
    let net = |net: IpNet| format!("{}/{}", net.addr(), net.prefix_len());
    for (option, address) in [("-s", body.source), ("-d", body.destination)] {
        if let Some(address) = address {
            let (not, address) = negatable(address);
            write!(text, "{not} {option} {}", net(address)).unwrap();
        }
    }
    if let Some(interface) = body.interface {
        let (not, interface) = negatable(interface);
        write!(text, "{not} -i {interface}").unwrap();
    }
    if let Some(protocol) = body.protocol {
        write!(text, " -p {protocol}").unwrap();
    }
}

fn matches(text: &mut String, family: IpFamily, rule: &Rule<'_>) {
    let body = &rule.body;
    for (is_there, option) in [(body.from_this_node, "--src-type"), (body.to_this_node, "--dst-type")] {
        if is_there {
            write!(text, " -m addrtype {option} LOCAL").unwrap();
        }
    }
    if body.probability.is_some() {
        write!(text, " -m statistic --mode random --probability {:.11}", stored_probability(rule)).unwrap();
    }
    if let Some(recent) = body.recent {
        let mask = match family {
            IpFamily::V4 => "255.255.255.255",
            IpFamily::V6 => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        };
        let action = match recent.action {
            RecentAction::Set => "--set".to_owned(),
            RecentAction::SeenWithin(seconds) => format!("--rcheck --seconds {seconds} --reap"),
        };
        write!(text, " -m recent {action} --name {} --mask {mask} --rsource", recent.list).unwrap();
    }
}

/// The probability as the kernel stores it: in units of 2⁻³¹.
fn stored_probability(rule: &Rule<'_>) -> f64 {
    let written = rule.to_string();
    let (_, after) = written.split_once("--probability ").unwrap();
    let probability: f64 = after.split(' ').next().unwrap().parse().unwrap();
    let unit = f64::from(1_u32 << 31);
    (probability * unit).round() / unit
}

fn printed(family: IpFamily, target: Target) -> String {
    match target {
        Target::Jump(chain) => chain.to_string(),
        Target::Accept => "ACCEPT".into(),
        Target::Drop => "DROP".into(),
        Target::Return => "RETURN".into(),
        Target::Reject => match family {
            IpFamily::V4 => "REJECT --reject-with icmp-port-unreachable".into(),
            IpFamily::V6 => "REJECT --reject-with icmp6-port-unreachable".into(),
        },
        Target::SetXmark(Mark { value, mask }) => format!("MARK --set-xmark {value:#x}/{mask:#x}"),
        Target::Masquerade { random_fully: false } => "MASQUERADE".into(),
        Target::Masquerade { random_fully: true } => "MASQUERADE --random-fully".into(),
        Target::Dnat(endpoint) => format!("DNAT --to-destination {endpoint}"),
    }
}

fn negatable<T>(value: Is<T>) -> (&'static str, T) {
    match value {
        Is::Just(value) => ("", value),
        Is::Not(value) => (" !", value),
    }
}

fn short(mark: Mark) -> String {
    format!("{:#x}/{:#x}", mark.value, mark.mask)
}

fn quoted(comment: &str) -> String {
    let is_word = comment.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if is_word { comment.to_owned() } else { format!("\"{comment}\"") }
}
