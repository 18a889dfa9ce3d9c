//! Parses rules, ours or those that `iptables-save` prints.
//!
//! An option that no rule of ours has makes a rule unknown. That is enough: a chain with such a rule is not ours, so
//! its meaning does not matter.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use portolan_core::Protocol;

use super::{Interface, Is, Mark, Probability, Recent, RecentAction, Rule, States, Target};
use crate::comment::Comment;
use crate::names::Chain;

/// Splits a line into words and removes quotes. The strings of `into` are reused.
///
/// Nothing if a quote is not closed.
pub fn words<'w>(line: &str, into: &'w mut Vec<String>) -> Option<&'w [String]> {
    let mut count = 0;
    let mut characters = line.chars().peekable();
    loop {
        while characters.next_if(char::is_ascii_whitespace).is_some() {}
        if characters.peek().is_none() {
            return Some(&into[..count]);
        }
        if into.len() == count {
            into.push(String::new());
        }
        let word = &mut into[count];
        word.clear();
        let mut is_quoted = false;
        while let Some(character) = characters.next_if(|c| is_quoted || !c.is_ascii_whitespace()) {
            match character {
                '"' => is_quoted = !is_quoted,
                '\\' if is_quoted => word.extend(characters.next()),
                other => word.push(other),
            }
        }
        if is_quoted {
            return None;
        }
        count += 1;
    }
}

/// Parses the words after the chain's name.
pub fn parse(words: &[String]) -> Option<Rule<'_>> {
    let mut reader = Reader { words, rule: Rule::default(), list: None, action: None, seconds: None };
    while let Some(word) = reader.next() {
        reader.option(word)?;
    }
    let Reader { mut rule, list, action, seconds, .. } = reader;
    rule.body.recent = match (list, action, seconds) {
        (None, None, None) => None,
        (Some(list), Some("--set"), None) => Some(Recent { list, action: RecentAction::Set }),
        (Some(list), Some("--rcheck"), Some(seconds)) => {
            Some(Recent { list, action: RecentAction::SeenWithin(seconds) })
        }
        _ => return None,
    };
    Some(rule)
}

struct Reader<'a> {
    words: &'a [String],
    rule: Rule<'a>,
    list: Option<Chain>,
    action: Option<&'a str>,
    seconds: Option<u64>,
}

/// Matches that have no meaning without their options.
const MATCHES: [&str; 10] =
    ["addrtype", "comment", "conntrack", "mark", "nfacct", "recent", "sctp", "statistic", "tcp", "udp"];

/// The masks of `recent` for the whole address.
const FULL_MASKS: [&str; 2] = ["255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"];

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn value<T: FromStr>(&mut self) -> Option<T> {
        self.next()?.parse().ok()
    }

    fn expect(&mut self, allowed: &[&str]) -> Option<()> {
        let word = self.next()?;
        allowed.contains(&word).then_some(())
    }

    fn option(&mut self, word: &'a str) -> Option<()> {
        if word == "!" {
            let negated = self.next()?;
            return self.negatable(negated, true);
        }
        match word {
            "-m" => self.expect(&MATCHES)?,
            "-p" => self.rule.body.protocol = Some(protocol(self.next()?)?),
            "--comment" => self.rule.comment = Comment::Text(self.next()?),
            "--src-type" => {
                self.expect(&["LOCAL"])?;
                self.rule.body.from_this_node = true;
            }
            "--dst-type" => {
                self.expect(&["LOCAL"])?;
                self.rule.body.to_this_node = true;
            }
            "--dport" => self.rule.body.destination_port = Some(self.value()?),
            "--mode" => self.expect(&["random"])?,
            "--probability" => self.rule.body.probability = Some(Probability::of(self.value()?)),
            "--nfacct-name" => self.rule.body.counter = Some(self.next()?),
            "-j" => self.rule.body.target = Some(self.target()?),
            "--name" => self.list = Some(Chain::parse(self.next()?)?),
            "--set" | "--rcheck" => self.action = Some(word),
            "--seconds" => self.seconds = Some(self.value()?),
            "--mask" => self.expect(&FULL_MASKS)?,
            "--reap" | "--rsource" => {}
            _ => return self.negatable(word, false),
        }
        Some(())
    }

    fn negatable(&mut self, word: &str, is_negated: bool) -> Option<()> {
        fn is<T>(value: T, is_negated: bool) -> Is<T> {
            if is_negated { Is::Not(value) } else { Is::Just(value) }
        }
        let value = self.next()?;
        let body = &mut self.rule.body;
        match word {
            "-s" => body.source = Some(is(net(value)?, is_negated)),
            "-d" => body.destination = Some(is(net(value)?, is_negated)),
            "-i" => body.interface = Some(is(Interface::parse(value), is_negated)),
            "--mark" => body.mark = Some(is(mark(value)?, is_negated)),
            "--ctstate" => body.state = Some(is(states(value)?, is_negated)),
            _ => return None,
        }
        Some(())
    }

    fn target(&mut self) -> Option<Target> {
        Some(match self.next()? {
            "ACCEPT" => Target::Accept,
            "DROP" => Target::Drop,
            "RETURN" => Target::Return,
            "REJECT" => self.reject()?,
            "MARK" => self.set_mark()?,
            "MASQUERADE" => {
                let random_fully = self.words.first().is_some_and(|word| word == "--random-fully");
                if random_fully {
                    self.next()?;
                }
                Target::Masquerade { random_fully }
            }
            "DNAT" => {
                self.expect(&["--to-destination"])?;
                Target::Dnat(self.value()?)
            }
            chain => Target::Jump(Chain::parse(chain)?),
        })
    }

    fn reject(&mut self) -> Option<Target> {
        if self.words.first().is_some_and(|word| word == "--reject-with") {
            self.next()?;
            self.expect(&["icmp-port-unreachable", "icmp6-port-unreachable"])?;
        }
        Some(Target::Reject)
    }

    fn set_mark(&mut self) -> Option<Target> {
        let word = self.next()?;
        let change = mark(self.next()?)?;
        Some(Target::SetXmark(match word {
            "--or-mark" => Mark::bits(change.value),
            "--xor-mark" => Mark { mask: 0, ..change },
            "--set-xmark" => change,
            _ => return None,
        }))
    }
}

fn protocol(text: &str) -> Option<Protocol> {
    Protocol::ALL.into_iter().find(|p| p.to_string() == text || p.number().to_string() == text)
}

fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// `value/mask`, or a value that is compared as a whole.
fn mark(text: &str) -> Option<Mark> {
    let number = |text: &str| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    match text.split_once('/') {
        Some((value, mask)) => Some(Mark { value: number(value)?, mask: number(mask)? }),
        None => Some(Mark { value: number(text)?, mask: u32::MAX }),
    }
}

fn states(text: &str) -> Option<States> {
    text.split(',').try_fold(States::default(), |states, name| {
        let (state, _) = States::NAMES.iter().find(|(_, known)| *known == name)?;
        Some(states.or(*state))
    })
}
