//! The types of flags, as pflag and Kubernetes read them.

use std::collections::BTreeMap;
use std::str::FromStr;

use portolan_core::address::parse_ip;

use super::csv;
use crate::bind;
use crate::duration::GoDuration;
use crate::kube_proxy::FileVerbosity;
use crate::quantity::Quantity as Size;
use crate::version;

/// The highest verbosity: klog's is a signed 32-bit number and never negative.
pub(crate) const HIGHEST_VERBOSITY: u32 = i32::MAX.unsigned_abs();

/// What a flag sets.
pub(crate) enum Value<'a> {
    Bool(&'a mut bool),
    Text(&'a mut String),
    Int(&'a mut i32),
    Float(&'a mut f32),
    Duration(&'a mut GoDuration),
    /// A log verbosity.
    Level(&'a mut u32),
    /// A line of CSV; a repeated flag appends.
    List(&'a mut Vec<String>),
    /// `a=true,b=false`; a repeated flag adds to them.
    Gates(&'a mut BTreeMap<String, bool>),
    /// `file=1,other*=2`.
    VModule(&'a mut Vec<FileVerbosity>),
    Quantity(&'a mut Size),
    Version(&'a mut VersionFlag),
    /// An IP address; an empty text keeps the default, as in kube-proxy.
    Ip(&'a mut String),
    /// The same, with or without a port.
    IpPort(&'a mut String),
}

impl Value<'_> {
    /// Parses the text of the flag. `again`: the flag was on the command line before.
    ///
    /// # Errors
    /// The text is not valid for the type.
    pub(crate) fn set(self, text: &str, again: bool) -> Result<(), String> {
        match self {
            Self::Bool(value) => *value = boolean(text)?,
            Self::Text(value) => text.clone_into(value),
            Self::Int(value) => {
                let number = integer(&text.replace('_', ""));
                *value = number
                    .and_then(|number| number.try_into().ok())
                    .ok_or("not an integer from -2147483648 to 2147483647")?;
            }
            // A file cannot express infinity, so a flag does not either.
            Self::Float(value) => {
                let number = text.parse().ok().filter(|number: &f32| number.is_finite());
                *value = number.ok_or("not a number")?;
            }
            Self::Duration(value) => *value = text.parse()?,
            Self::Level(value) => {
                let level = unsigned(text).filter(|level| *level <= HIGHEST_VERBOSITY);
                *value = level.ok_or("not an integer from 0 to 2147483647")?;
            }
            Self::List(value) => {
                let items = csv::read(text).ok_or("not a comma-separated list")?;
                if !again {
                    value.clear();
                }
                value.extend(items);
            }
            Self::Gates(value) => {
                let gates = gates(text).ok_or("not a list such as A=true,B=false")?;
                if !again {
                    value.clear();
                }
                value.extend(gates);
            }
            Self::VModule(value) => {
                *value = verbosities(text).ok_or("not a list such as file=1,other*=2")?;
            }
            Self::Quantity(value) => *value = text.parse()?,
            Self::Version(value) => *value = text.parse()?,
            Self::Ip(_) | Self::IpPort(_) if text.is_empty() => {}
            Self::Ip(value) => {
                parse_ip(text).map_err(|error| error.to_string())?;
                text.clone_into(value);
            }
            Self::IpPort(value) => {
                // The port does not matter here: other flags supply the one that is missing.
                bind::parse(&bind::with_port(text, bind::HEALTHZ_PORT))
                    .map_err(|_part| "not an IP address, or IP:port with a port from 1 to 65535")?;
                text.clone_into(value);
            }
        }
        Ok(())
    }

    /// The value as pflag prints it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Text(value) | Self::Ip(value) | Self::IpPort(value) => (*value).clone(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Duration(value) => value.to_string(),
            Self::Level(value) => value.to_string(),
            Self::List(value) => format!("[{}]", value.join(",")),
            Self::Gates(value) => {
                let pairs: Vec<_> = value.iter().map(|(name, value)| format!("{name}={value}")).collect();
                pairs.join(",")
            }
            Self::VModule(value) => {
                let item = |item: &FileVerbosity| format!("{}={}", item.file_pattern, item.verbosity);
                value.iter().map(item).collect::<Vec<_>>().join(",")
            }
            Self::Quantity(value) => value.to_string(),
            Self::Version(value) => value.text().to_owned(),
        }
    }

    /// The name of the type.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Text(_) => "string",
            Self::Int(_) => "int32",
            Self::Float(_) => "float32",
            Self::Duration(_) => "duration",
            Self::Level(_) => "level",
            Self::List(_) => "strings",
            Self::Gates(_) => "name=bool,...",
            Self::VModule(_) => "pattern=N,...",
            Self::Quantity(_) => "quantity",
            Self::Version(_) => "version",
            Self::Ip(_) => "ip",
            Self::IpPort(_) => "ip[:port]",
        }
    }

    /// Whether the flag means `true` without a value. Otherwise the next argument is its value.
    pub(crate) fn is_switch(&self) -> bool {
        matches!(self, Self::Bool(_) | Self::Version(_))
    }
}

/// Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err("not one of true, false, 1, 0, t, f"),
    }
}

/// Go's `strconv.ParseInt` with base 0: `10`, `0x1f`, `0o17`, `017`, `0b11`, with or without a sign.
fn integer(digits: &str) -> Option<i64> {
    let (sign, unsigned) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (radix, rest) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    if rest.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{rest}"), radix).ok()
}

fn gates(text: &str) -> Option<BTreeMap<String, bool>> {
    let gate = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_owned(), boolean(value.trim()).ok()?))
    };
    text.split(',').filter(|pair| !pair.is_empty()).map(gate).collect()
}

/// Empty items are ignored.
fn verbosities(text: &str) -> Option<Vec<FileVerbosity>> {
    let item = |item: &str| {
        let (pattern, level) = item.split_once('=').filter(|(pattern, _)| !pattern.is_empty())?;
        Some(FileVerbosity { file_pattern: pattern.to_owned(), verbosity: unsigned(level)? })
    };
    text.split(',').filter(|item| !item.is_empty()).map(item).collect()
}

/// Decimal digits, without a sign.
fn unsigned(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `--version`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum VersionFlag {
    /// Not given.
    #[default]
    No,
    /// Print the version.
    Print,
    /// Print all version information.
    Raw,
    /// Report this version and continue.
    Report(String),
}

impl FromStr for VersionFlag {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "raw" => Ok(Self::Raw),
            text if version::may_be_reported(text) => Ok(Self::Report(text.to_owned())),
            text if text.starts_with('v') => Err("not a version of the release v1.36.2"),
            text => match boolean(text) {
                Ok(true) => Ok(Self::Print),
                Ok(false) => Ok(Self::No),
                Err(_) => Err("not true, false, raw, or a version that starts with v"),
            },
        }
    }
}

impl VersionFlag {
    fn text(&self) -> &str {
        match self {
            Self::No => "false",
            Self::Print => "true",
            Self::Raw => "raw",
            Self::Report(version) => version,
        }
    }
}
