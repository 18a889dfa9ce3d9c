//! The configuration file: YAML or JSON, read as kube-proxy reads it.
//!
//! ```text
//! text ─▶ tree of values ─▶ kind and version ─▶ decode ─▶ KubeProxyConfiguration, defaults filled in
//! ```
//!
//! kube-proxy decodes strictly, and if that fails only for an unknown or duplicate field, again leniently with a log
//! line. Here one pass does both.

mod decode;
mod yaml;

use std::path::Path;

use crate::error::ConfigError;
use crate::kube_proxy::{API_VERSION, KIND, KubeProxyConfiguration, defaults};
use crate::notes::Note;

use yaml::{Node, Value};

/// A decoded file, not yet validated.
#[derive(Debug, PartialEq)]
pub(crate) struct File {
    pub(crate) config: KubeProxyConfiguration,
    /// Log lines about how it was read.
    pub(crate) notes: Vec<Note>,
}

/// Reads and decodes the file at `path`, and fills in what it leaves out.
///
/// # Errors
/// The file cannot be read, or is not a configuration of this version.
pub(crate) fn load(path: &Path) -> Result<File, ConfigError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| ConfigError::OpenFile { path: name.clone(), source })?;
    let broken = |reason: String| ConfigError::Decode { path: name.clone(), reason };
    let text = String::from_utf8(bytes).map_err(|error| broken(error.to_string()))?;
    parse(&text).map_err(broken)
}

/// Decodes the text of a file, and fills in what it leaves out.
///
/// # Errors
/// Why it is not a configuration of this version.
pub(crate) fn parse(text: &str) -> Result<File, String> {
    let yaml::Documents { mut first, more } = yaml::parse(text.trim_start_matches('\u{feff}'))?;
    check_kind(&mut first)?;
    let (mut config, violations) =
        decode::decode::<KubeProxyConfiguration>(&first).map_err(|error| error.to_string())?;
    defaults::fill(&mut config);
    let mut notes = Vec::new();
    if !violations.is_empty() {
        let violations = violations.join(", ");
        notes.push(Note::info(
            "--config",
            format!("Using lenient decoding as strict decoding failed: strict decoding error: {violations}"),
        ));
    }
    if more {
        notes.push(Note::warning("--config", "only the first document of the file is used"));
    }
    Ok(File { config, notes })
}

/// Takes `kind` and `apiVersion` out of the file and checks them.
fn check_kind(root: &mut Node) -> Result<(), String> {
    let mut take = |wanted: &str| match &mut root.value {
        Value::Map(fields) => {
            let found =
                fields.iter().rev().find(|(name, _)| name == wanted).map(|(_, node)| node.value.clone());
            fields.retain(|(name, _)| name != wanted);
            match found {
                Some(Value::String(text)) if !text.is_empty() => Ok(text),
                _ => Err(format!("`{wanted}` is missing")),
            }
        }
        Value::Null => Err(format!("`{wanted}` is missing")),
        _ => Err(format!("line {}: the file is not a mapping", root.defined.line())),
    };
    let (kind, version) = (take("kind")?, take("apiVersion")?);
    if (kind.as_str(), version.as_str()) == (KIND, API_VERSION) {
        Ok(())
    } else {
        Err(format!("unknown kind {version} {kind} (want {API_VERSION} {KIND})"))
    }
}
