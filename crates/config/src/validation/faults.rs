//! Faults of a configuration, collected so that one look shows them all.

use std::fmt;

/// What is wrong with the fields of a configuration, in Kubernetes' words and with its paths, such as
/// `KubeProxyConfiguration.KubeProxyIPTablesConfiguration.MasqueradeBit`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults(Vec<String>);

impl Faults {
    /// One text per fault, `path: kind: value: what is wanted`.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// A text that cannot be.
    pub(crate) fn text(&mut self, path: &str, value: &str, wanted: impl fmt::Display) {
        self.0.push(format!("{}: Invalid value: {value:?}: {wanted}", full(path)));
    }

    /// A number or duration that cannot be.
    pub(crate) fn number(&mut self, path: &str, value: impl fmt::Display, wanted: impl fmt::Display) {
        self.0.push(format!("{}: Invalid value: {value}: {wanted}", full(path)));
    }

    /// A setting that other settings do not allow.
    pub(crate) fn forbidden(&mut self, path: &str, why: impl fmt::Display) {
        self.0.push(format!("{}: Forbidden: {why}", full(path)));
    }

    /// Something that must not be left out.
    pub(crate) fn required(&mut self, path: &str, what: &str) {
        self.0.push(format!("{}: Required value: {what}", full(path)));
    }

    /// A word that is none of those there are.
    pub(crate) fn unsupported(&mut self, path: &str, value: &str, supported: &[&str]) {
        let supported: Vec<_> = supported.iter().map(|word| format!("{word:?}")).collect();
        let supported = supported.join(", ");
        self.0.push(format!("{}: Unsupported value: {value:?}: supported values: {supported}", full(path)));
    }

    /// `value`, unless there is a fault.
    pub(crate) fn or_else<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

fn full(path: &str) -> String {
    format!("KubeProxyConfiguration.{path}")
}

/// One fault as it is, several in brackets, as Kubernetes prints them.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [only] => f.write_str(only),
            several => write!(f, "[{}]", several.join(", ")),
        }
    }
}
