//! What a flag's value can be, as pflag and Kubernetes' own types read it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::str::FromStr;

use super::csv;
use crate::duration::GoDuration;
use crate::error::ValueError;
use crate::kube_proxy::logging::VModule;
use crate::quantity::Quantity;
use crate::version;

/// Something that a flag sets.
pub(crate) trait Value {
    /// Takes the text of the flag. `again` says that the same command line had the flag before; lists
    /// then grow, everything else is replaced.
    ///
    /// # Errors
    /// The text is none that the flag can have.
    fn set(&mut self, text: &str, again: bool) -> Result<(), ValueError>;

    /// The value as pflag prints it.
    fn text(&self) -> String;

    /// What pflag calls the type.
    fn kind(&self) -> &'static str;

    /// What the flag means without a value; with `None` the next argument is its value.
    fn bare(&self) -> Option<&'static str> {
        None
    }
}

/// UTF-8 text.
pub(crate) fn utf8(value: OsString) -> Result<String, ValueError> {
    value.into_string().map_err(|_bytes| ValueError::Encoding)
}

impl Value for bool {
    fn set(&mut self, text: &str, _: bool) -> Result<(), ValueError> {
        *self = switch(text)?;
        Ok(())
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn kind(&self) -> &'static str {
        "bool"
    }

    fn bare(&self) -> Option<&'static str> {
        Some("true")
    }
}

/// What Go's `strconv.ParseBool` takes.
fn switch(text: &str) -> Result<bool, ValueError> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err(ValueError::Bool),
    }
}

impl Value for String {
    fn set(&mut self, text: &str, _: bool) -> Result<(), ValueError> {
        text.clone_into(self);
        Ok(())
    }

    fn text(&self) -> String {
        self.clone()
    }

    fn kind(&self) -> &'static str {
        "string"
    }
}

impl Value for i32 {
    fn set(&mut self, text: &str, _: bool) -> Result<(), ValueError> {
        let number = integer(&text.replace('_', ""));
        *self = number.and_then(|number| number.try_into().ok()).ok_or(ValueError::Int32)?;
        Ok(())
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn kind(&self) -> &'static str {
        "int32"
    }
}

/// An integer as Go's `strconv.ParseInt` reads it with base 0: `10`, `0x1f`, `0o17`, `017`, `0b11`, with or without a
/// sign.
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

impl Value for f32 {
    fn set(&mut self, text: &str, _: bool) -> Result<(), ValueError> {
        // A file could not say infinity, so a flag cannot either.
        *self = text.parse().ok().filter(|number: &f32| number.is_finite()).ok_or(ValueError::Float32)?;
        Ok(())
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn kind(&self) -> &'static str {
        "float32"
    }
}

impl Value for GoDuration {
    fn set(&mut self, text: &str, _: bool) -> Result<(), ValueError> {
        *self = text.parse()?;
        Ok(())
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn kind(&self) -> &'static str {
        "duration"
    }
}

/// Verbosity is a signed 32-bit number in klog, and never negative.
pub(crate) const HIGHEST_VERBOSITY: u32 = i32::MAX.unsigned_abs();

/// A log verbosity.
impl Value for u32 {
    fn set(&mut self, text: &str, _: bool) -> Result<(), ValueError> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let level = text.parse().ok().filter(|level| is_number && *level <= HIGHEST_VERBOSITY);
        *self = level.ok_or(ValueError::Verbosity)?;
        Ok(())
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn kind(&self) -> &'static str {
        "level"
    }
}

/// A list: one line of CSV, and more with each repetition.
impl Value for Vec<String> {
    fn set(&mut self, text: &str, again: bool) -> Result<(), ValueError> {
        let items = csv::read(text).ok_or(ValueError::List)?;
        if !again {
            self.clear();
        }
        self.extend(items);
        Ok(())
    }

    fn text(&self) -> String {
        format!("[{}]", self.join(","))
    }

    fn kind(&self) -> &'static str {
        "strings"
    }
}

/// Switches by name, `a=true,b=false`; a repetition adds to them.
impl Value for BTreeMap<String, bool> {
    fn set(&mut self, text: &str, again: bool) -> Result<(), ValueError> {
        let mut read = BTreeMap::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(ValueError::Switches)?;
            read.insert(name.trim().to_owned(), switch(value.trim()).map_err(|_word| ValueError::Switches)?);
        }
        if !again {
            self.clear();
        }
        self.extend(read);
        Ok(())
    }

    fn text(&self) -> String {
        let pairs: Vec<_> = self.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(",")
    }

    fn kind(&self) -> &'static str {
        "name=bool,..."
    }
}

impl Value for VModule {
    fn set(&mut self, text: &str, _: bool) -> Result<(), ValueError> {
        *self = VModule::from_str(text)?;
        Ok(())
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn kind(&self) -> &'static str {
        "pattern=N,..."
    }
}

impl Value for Quantity {
    fn set(&mut self, text: &str, _: bool) -> Result<(), ValueError> {
        *self = text.parse()?;
        Ok(())
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn kind(&self) -> &'static str {
        "quantity"
    }
}

/// `--version`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum VersionFlag {
    /// Not asked for.
    #[default]
    No,
    /// Print the version.
    Print,
    /// Print all that is known of this build.
    Raw,
    /// Go on, and report this version.
    Report(String),
}

impl Value for VersionFlag {
    fn set(&mut self, text: &str, _: bool) -> Result<(), ValueError> {
        *self = match text {
            "raw" => Self::Raw,
            text if text.starts_with('v') => {
                if !version::may_stand_for_ours(text) {
                    return Err(ValueError::ReportedVersion);
                }
                Self::Report(text.to_owned())
            }
            text if switch(text).map_err(|_word| ValueError::Version)? => Self::Print,
            _ => Self::No,
        };
        Ok(())
    }

    fn text(&self) -> String {
        match self {
            Self::No => "false".to_owned(),
            Self::Print => "true".to_owned(),
            Self::Raw => "raw".to_owned(),
            Self::Report(version) => version.clone(),
        }
    }

    fn kind(&self) -> &'static str {
        "version"
    }

    fn bare(&self) -> Option<&'static str> {
        Some("true")
    }
}
