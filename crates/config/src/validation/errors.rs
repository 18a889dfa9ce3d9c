//! Errors of the fields of a configuration, collected so that all are reported at once.

use std::fmt::{self, Display};

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const POSITIVE: &str = "must be greater than 0";

/// What is wrong with the fields of a configuration, in Kubernetes' words and with its paths, such as
/// `KubeProxyConfiguration.KubeProxyIPTablesConfiguration.MasqueradeBit`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldErrors(Vec<String>);

impl FieldErrors {
    /// A text per error, `path: kind: value: what is wanted`.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    fn add(&mut self, path: &str, error: impl Display) {
        self.0.push(format!("KubeProxyConfiguration.{path}: {error}"));
    }

    /// An invalid text.
    pub(crate) fn text(&mut self, path: &str, value: &str, wanted: impl Display) {
        self.add(path, format_args!("Invalid value: {value:?}: {wanted}"));
    }

    /// An invalid number or duration.
    pub(crate) fn number(&mut self, path: &str, value: impl Display, wanted: impl Display) {
        self.add(path, format_args!("Invalid value: {value}: {wanted}"));
    }

    /// Requires a number or duration of at least 0.
    pub(crate) fn not_negative<T: PartialOrd + Default + Display>(&mut self, path: &str, value: T) {
        if value < T::default() {
            self.number(path, value, NOT_NEGATIVE);
        }
    }

    /// Requires a number or duration above 0.
    pub(crate) fn positive<T: PartialOrd + Default + Display>(&mut self, path: &str, value: T) {
        if value <= T::default() {
            self.number(path, value, POSITIVE);
        }
    }

    /// Requires a number from `first` to `last`.
    pub(crate) fn within(&mut self, path: &str, value: i32, first: i32, last: i32) {
        if !(first..=last).contains(&value) {
            self.number(path, value, format_args!("must be within the range [{first}, {last}]"));
        }
    }

    /// A setting that other settings do not allow.
    pub(crate) fn forbidden(&mut self, path: &str, reason: impl Display) {
        self.add(path, format_args!("Forbidden: {reason}"));
    }

    /// A missing value.
    pub(crate) fn required(&mut self, path: &str, what: &str) {
        self.add(path, format_args!("Required value: {what}"));
    }

    /// A value that is not one of those supported.
    pub(crate) fn unsupported(&mut self, path: &str, value: &str, supported: &[&str]) {
        let supported: Vec<_> = supported.iter().map(|word| format!("{word:?}")).collect();
        let supported = supported.join(", ");
        self.add(path, format_args!("Unsupported value: {value:?}: supported values: {supported}"));
    }

    /// `value`, unless there is an error.
    pub(crate) fn or_else<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

/// One error as it is, several in brackets, as Kubernetes prints them.
impl Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [only] => f.write_str(only),
            several => write!(f, "[{}]", several.join(", ")),
        }
    }
}
