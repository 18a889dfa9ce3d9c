//! Parses the command line into the fields that the flags set, and prints `--help`.
//!
//! The syntax is pflag's, as in kube-proxy: `--flag value` takes any next argument, `--flag=value`, `_` in a name means
//! `-`, a switch needs no value and takes one only after `=`, a repeated flag overrides the earlier one while lists
//! grow.

pub(crate) mod bound;
mod csv;
pub(crate) mod table;
pub(crate) mod value;

use std::ffi::OsString;
use std::fmt::Write;

use lexopt::{Arg, Parser};

use crate::error::ConfigError;
pub(crate) use bound::Bound;
use value::Value;

/// A flag.
pub(crate) struct Flag {
    /// Its name, as kube-proxy has it.
    pub(crate) name: &'static str,
    /// Another name.
    pub(crate) alias: Option<&'static str>,
    /// A short name.
    pub(crate) short: Option<char>,
    /// Whether it is used with `--config`.
    pub(crate) with_file: WithFile,
    /// What to use instead; a deprecated flag is not in `--help`.
    pub(crate) deprecated: Option<&'static str>,
    /// The field that it sets.
    pub(crate) value: fn(&mut Bound) -> Value<'_>,
    /// Its line in `--help`.
    pub(crate) help: &'static str,
}

/// What a flag means with `--config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithFile {
    /// Ignored without a warning: the file has a field for it.
    Ignored,
    /// The same as without.
    Honoured,
}

impl Bound {
    /// Reads a command line, its first item the program's name.
    ///
    /// # Errors
    /// A flag is unknown, has no value or an invalid one, or there is a positional argument. An empty argument is
    /// accepted, as in kube-proxy.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ConfigError> {
        let mut bound = Self::default();
        let mut parser = Parser::from_args(args.into_iter().skip(1));
        while let Some((flag, typed)) = next_flag(&mut parser)? {
            let value = if (flag.value)(&mut bound).is_switch() {
                parser.optional_value().unwrap_or_else(|| "true".into())
            } else {
                // Fails only if there is no further argument.
                parser.value().map_err(|_end| ConfigError::Usage(format!("flag {typed} needs a value")))?
            };
            let value = value.into_string().map_err(|value| ConfigError::InvalidValue {
                flag: typed.clone(),
                value: value.to_string_lossy().into_owned(),
                reason: "not valid UTF-8".to_owned(),
            })?;
            bound.set(flag, &typed, value)?;
        }
        Ok(bound)
    }

    /// Every flag with its value, sorted by name.
    pub(crate) fn listed(&self) -> Vec<(String, String)> {
        // A value is read through the reference that sets it.
        let mut copy = self.clone();
        let mut list: Vec<_> =
            table::FLAGS.iter().map(|flag| (flag.name.to_owned(), (flag.value)(&mut copy).text())).collect();
        list.sort_unstable();
        list
    }
}

/// The next flag, and how it was typed; its value is not parsed yet.
fn next_flag(parser: &mut Parser) -> Result<Option<(&'static Flag, String)>, ConfigError> {
    loop {
        let (flag, typed) = match parser.next() {
            Ok(None) => return Ok(None),
            Ok(Some(Arg::Value(value))) if value.is_empty() => continue,
            Ok(Some(Arg::Value(value))) => {
                let argument = value.to_string_lossy();
                return Err(ConfigError::Usage(format!("unexpected argument {argument:?}")));
            }
            Ok(Some(Arg::Long(name))) => {
                let name = name.replace('_', "-");
                let flag = table::FLAGS.iter().find(|flag| flag.name == name || flag.alias == Some(&name));
                (flag, format!("--{}", name.escape_debug()))
            }
            Ok(Some(Arg::Short(letter))) => {
                let flag = table::FLAGS.iter().find(|flag| flag.short == Some(letter));
                (flag, format!("-{}", letter.escape_debug()))
            }
            // `next` fails only for a value that the previous flag did not take; here each takes its own.
            Err(error) => return Err(ConfigError::Usage(error.to_string())),
        };
        return match flag {
            Some(flag) => Ok(Some((flag, typed))),
            None => Err(ConfigError::Usage(format!("unknown flag {typed}"))),
        };
    }
}

/// The text of `--help`: a line per flag that is not deprecated.
pub(crate) fn help() -> String {
    let mut bound = Bound::default();
    let shown: Vec<_> = table::FLAGS.iter().filter(|flag| flag.deprecated.is_none()).collect();
    let names: Vec<String> = shown.iter().map(|flag| names(flag, &mut bound)).collect();
    let width = names.iter().map(String::len).max().unwrap_or_default();
    let mut text = String::from(
        "Forwards packets from Kubernetes Services to their endpoints on this node.\n\nUsage: portolan [FLAGS]\n\n",
    );
    for (flag, names) in shown.into_iter().zip(names) {
        let default = match (flag.value)(&mut bound).text().as_str() {
            "" | "false" | "[]" | "0" | "0s" => String::new(),
            value => format!(" (default: {value})"),
        };
        let star = if flag.with_file == WithFile::Ignored { '*' } else { ' ' };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{star} {names:width$}  {}{default}", flag.help);
    }
    text.push_str("\n* ignored with --config: the file has a field for it\n");
    text
}

fn names(flag: &Flag, bound: &mut Bound) -> String {
    let short = flag.short.map(|letter| format!("-{letter}"));
    // `-v` has no longer name.
    let long = flag.alias.into_iter().chain([flag.name]).filter(|name| name.len() > 1);
    let names = short.into_iter().chain(long.map(|name| format!("--{name}")));
    let names = names.collect::<Vec<_>>().join(", ");
    let value = (flag.value)(bound);
    if value.is_switch() { names } else { format!("{names} {}", value.kind()) }
}
