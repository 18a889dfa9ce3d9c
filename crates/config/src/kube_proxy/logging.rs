//! The `logging` section, which all components of Kubernetes share.

use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::quantity::Quantity;

/// `logging`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct Logging {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) format: String,
    // May be a number, because it is older than the rule that a duration is a string.
    #[serde(deserialize_with = "GoDuration::or_nanoseconds")]
    pub(crate) flush_frequency: GoDuration,
    pub(crate) verbosity: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) vmodule: Vec<FileVerbosity>,
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

/// One item of `logging.vmodule`: the verbosity of some files.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", expecting = "a mapping")]
pub(crate) struct FileVerbosity {
    pub(crate) file_pattern: String,
    pub(crate) verbosity: u32,
}
