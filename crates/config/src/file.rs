//! The configuration file: YAML or JSON, read as kube-proxy reads it.
//!
//! ```text
//! text ─▶ tree ─▶ kind and version ─▶ decode ─▶ KubeProxyConfiguration, defaults filled in
//! ```
//!
//! Strict and lenient reading are one: a field that nobody knows does not keep a node from having a
//! proxy, and is said once in the log.

pub(crate) mod decode;
pub(crate) mod scalar;
pub(crate) mod tree;

use std::path::Path;

use crate::error::ConfigError;
use crate::kube_proxy::{API_VERSION, KIND, KubeProxyConfiguration, defaults};
use crate::note::Note;

use tree::{Node, Value};

/// What a file says, before anybody checked whether it makes sense.
#[derive(Debug, PartialEq)]
pub(crate) struct File {
    pub(crate) config: KubeProxyConfiguration,
    /// What the log should say about how it was read.
    pub(crate) notes: Vec<Note>,
}

/// Reads and decodes the file at `path`, and fills in what it leaves out.
///
/// # Errors
/// It cannot be read, or is no configuration that we know.
pub(crate) fn load(path: &Path) -> Result<File, ConfigError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| ConfigError::OpenFile { path: name.clone(), source })?;
    let broken = |reason: String| ConfigError::Decode { path: name.clone(), reason };
    let text = String::from_utf8(bytes).map_err(|error| broken(error.to_string()))?;
    parse(&text).map_err(broken)
}

/// Decodes a file's text, and fills in what it leaves out.
///
/// # Errors
/// Why it is no configuration that we know.
pub(crate) fn parse(text: &str) -> Result<File, String> {
    let documents = tree::parse(text.trim_start_matches('\u{feff}')).map_err(|error| error.to_string())?;
    let root = &documents.first;
    check_kind(root)?;
    let decoded = decode::decode::<KubeProxyConfiguration>(root, &["kind", "apiVersion"])
        .map_err(|error| error.to_string())?;
    let mut config = decoded.value;
    defaults::fill(&mut config);
    let mut notes = Vec::new();
    let unknown = decoded.unknown;
    if !unknown.is_empty() {
        let what = format!("strict decoding error: {}", unknown.join(", "));
        notes.push(Note::info(
            "--config",
            format!("Using lenient decoding as strict decoding failed: {what}"),
        ));
    }
    if documents.more {
        notes.push(Note::warning("--config", "only the first document of the file counts"));
    }
    Ok(File { config, notes })
}

fn check_kind(root: &Node) -> Result<(), String> {
    let fields = match &root.value {
        Value::Map(fields) => fields.as_slice(),
        Value::Null => &[],
        _ => return Err(format!("line {}: the file is no mapping", root.line)),
    };
    let word = |name: &str| {
        let (_, node) = fields.iter().rev().find(|(key, _)| key == name)?;
        match &node.value {
            Value::Text(text) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        }
    };
    let kind = word("kind").ok_or("`kind` is missing")?;
    let version = word("apiVersion").ok_or("`apiVersion` is missing")?;
    if (kind, version) == (KIND, API_VERSION) {
        Ok(())
    } else {
        Err(format!("{version} {kind} is not known, only {API_VERSION} {KIND} is"))
    }
}
