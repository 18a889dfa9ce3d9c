//! The `logging` section, which all components of Kubernetes share.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::duration::GoDuration;
use crate::error::ValueError;
use crate::quantity::Quantity;

/// `logging`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct Logging {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) format: String,
    #[serde(deserialize_with = "duration_or_nanoseconds")]
    pub(crate) flush_frequency: GoDuration,
    pub(crate) verbosity: u32,
    #[serde(skip_serializing_if = "VModule::is_empty")]
    pub(crate) vmodule: VModule,
    pub(crate) options: FormatOptions,
}

/// `logging.options`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct FormatOptions {
    pub(crate) text: StreamOptions,
    pub(crate) json: StreamOptions,
}

/// `logging.options.text` and `.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct StreamOptions {
    #[serde(skip_serializing_if = "super::is_false")]
    pub(crate) split_stream: bool,
    pub(crate) info_buffer_size: Quantity,
}

/// `logging.vmodule`: verbosity by file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct VModule(pub(crate) Vec<FileVerbosity>);

/// One item of `logging.vmodule`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct FileVerbosity {
    pub(crate) file_pattern: String,
    pub(crate) verbosity: u32,
}

impl VModule {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The value of `--vmodule`, `file=1,other*=2`; empty items are ignored.
impl FromStr for VModule {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let items = text.split(',').filter(|item| !item.is_empty());
        let read = |item: &str| {
            let (pattern, level) = item.split_once('=').filter(|(pattern, _)| !pattern.is_empty())?;
            let verbosity = level.parse().ok().filter(|_| level.bytes().all(|byte| byte.is_ascii_digit()))?;
            Some(FileVerbosity { file_pattern: pattern.to_owned(), verbosity })
        };
        items
            .map(read)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or(ValueError::Invalid("not a list such as file=1,other*=2"))
    }
}

impl fmt::Display for VModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}={}", item.file_pattern, item.verbosity)?;
        }
        Ok(())
    }
}

/// `logging.flushFrequency` may be an integer, because it is older than the rule that a duration is a string.
fn duration_or_nanoseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GoDuration, D::Error> {
    struct Either;

    impl Visitor<'_> for Either {
        type Value = GoDuration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration or a number of nanoseconds")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<GoDuration, E> {
            text.parse().map_err(|error| E::custom(format_args!("{text:?} is {error}")))
        }

        fn visit_i64<E: Error>(self, nanos: i64) -> Result<GoDuration, E> {
            Ok(GoDuration::from_nanos(nanos))
        }
    }

    deserializer.deserialize_any(Either)
}
