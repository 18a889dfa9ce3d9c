//! The command line, read into what the flags are bound to.
//!
//! Syntax is pflag's, as kube-proxy has it: `--flag value` takes the next argument
//! whatever it looks like, `--flag=value`, `_` in a name means `-`, a switch may go
//! without a value but takes one only behind `=`, a repeated flag overrides the
//! earlier one while lists grow.

mod address;
pub(crate) mod bound;
mod csv;
pub(crate) mod help;
pub(crate) mod table;
pub(crate) mod value;

use std::ffi::OsString;

use lexopt::{Arg, Parser};

use crate::error::{ConfigError, ValueError};
pub(crate) use bound::Bound;
use value::Value;

/// One flag: what it is called, what it sets.
pub(crate) struct Flag {
    /// Its name, as kube-proxy has it.
    pub(crate) name: &'static str,
    /// Another name that means the same.
    pub(crate) alias: Option<&'static str>,
    /// A letter that means the same.
    pub(crate) short: Option<char>,
    /// Whether it counts beside a file.
    pub(crate) with_file: WithFile,
    /// What to use instead; such a flag is not in `--help`.
    pub(crate) deprecated: Option<&'static str>,
    /// What it sets.
    pub(crate) value: fn(&mut Bound) -> &mut dyn Value,
    /// What `--help` says of it.
    pub(crate) help: &'static str,
}

/// What a flag means when there is a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithFile {
    /// Nothing, and nobody says so: the file has a field for it.
    Ignored,
    /// The same as without.
    Honoured,
}

impl Bound {
    /// Reads a command line, its first item the program's name.
    ///
    /// # Errors
    /// A flag is unknown, has no value or one of the wrong type, or there is an
    /// argument that is no flag. An empty argument is let through, as kube-proxy does.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ConfigError> {
        let mut bound = Self::default();
        let mut parser = Parser::from_args(args.into_iter().skip(1));
        while let Some((flag, typed)) = next_flag(&mut parser)? {
            let invalid = |value: &str, source| ConfigError::InvalidValue {
                flag: typed.clone(),
                value: value.to_owned(),
                source,
            };
            let given = match (flag.value)(&mut bound).bare() {
                Some(bare) => parser.optional_value().unwrap_or_else(|| bare.into()),
                // The only thing that can be wrong with it here is that it is not there.
                None => parser.value().map_err(|_end| ConfigError::MissingValue { flag: typed.clone() })?,
            };
            let lossy = given.to_string_lossy().into_owned();
            let text = value::utf8(given).map_err(|source| invalid(&lossy, source))?;
            bound.set(flag, &text).map_err(|source| invalid(&text, source))?;
        }
        Ok(bound)
    }

    fn set(&mut self, flag: &Flag, text: &str) -> Result<(), ValueError> {
        let again = self.is_given(flag.name);
        (flag.value)(self).set(text, again)?;
        self.given.insert(flag.name);
        Ok(())
    }

    /// Every flag with its value, sorted by name.
    pub(crate) fn listed(&self) -> Vec<(String, String)> {
        // Reading a value goes through the same door as setting it.
        let mut copy = self.clone();
        let mut list: Vec<_> =
            table::all().map(|flag| (flag.name.to_owned(), (flag.value)(&mut copy).text())).collect();
        list.sort_unstable();
        list
    }
}

/// The next flag, and how to call it towards the user; its value is still to be read.
fn next_flag(parser: &mut Parser) -> Result<Option<(&'static Flag, String)>, ConfigError> {
    loop {
        let (flag, typed) = match parser.next() {
            Ok(None) => return Ok(None),
            Ok(Some(Arg::Value(value))) if value.is_empty() => continue,
            Ok(Some(Arg::Value(value))) => {
                let argument = value.to_string_lossy().into_owned();
                return Err(ConfigError::UnexpectedArgument { argument });
            }
            Ok(Some(Arg::Long(name))) => {
                let name = name.replace('_', "-");
                let flag = table::all().find(|flag| flag.name == name || flag.alias == Some(&name));
                (flag, format!("--{}", name.escape_debug()))
            }
            Ok(Some(Arg::Short(letter))) => {
                let flag = table::all().find(|flag| flag.short == Some(letter));
                (flag, format!("-{}", letter.escape_debug()))
            }
            // `next` fails only over a value that the flag before did not take, and ours take theirs.
            Err(error) => return Err(ConfigError::UnknownFlag { flag: error.to_string() }),
        };
        return match flag {
            Some(flag) => Ok(Some((flag, typed))),
            None => Err(ConfigError::UnknownFlag { flag: typed }),
        };
    }
}
