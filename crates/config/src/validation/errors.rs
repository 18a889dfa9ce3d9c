//! Errors of the fields of a configuration, collected so that all are reported at once.

use std::fmt::{self, Display};
use std::time::Duration;

use ipnet::IpNet;
use portolan_core::address::parse_cidr;

use crate::duration::GoDuration;

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

    /// A number that must be at least 0.
    pub(crate) fn count<T: TryFrom<i32> + Default>(&mut self, path: &str, value: i32) -> T {
        if value < 0 {
            self.number(path, value, NOT_NEGATIVE);
        }
        T::try_from(value).unwrap_or_default()
    }

    /// A duration that must be at least 0.
    pub(crate) fn duration(&mut self, path: &str, value: GoDuration) -> Duration {
        if value < GoDuration::ZERO {
            self.number(path, value, NOT_NEGATIVE);
        }
        value.get()
    }

    /// A duration that must be greater than 0.
    pub(crate) fn positive(&mut self, path: &str, value: GoDuration) -> Duration {
        if value <= GoDuration::ZERO {
            self.number(path, value, POSITIVE);
        }
        value.get()
    }

    /// CIDRs; `wanted` is what an item must be that is none.
    pub(crate) fn cidrs<'a>(
        &mut self,
        path: &str,
        items: impl IntoIterator<Item = &'a str>,
        wanted: impl Fn(&str) -> &'static str,
    ) -> Vec<IpNet> {
        let mut cidrs = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            match parse_cidr(item) {
                Ok(cidr) => cidrs.push(cidr),
                Err(_) => self.text(&format!("{path}[{index}]"), item, wanted(item)),
            }
        }
        cidrs
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
