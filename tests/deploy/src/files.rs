//! The files under test, and what is in them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A file or folder below `deploy/`.
pub(crate) fn deployed(path: &str) -> PathBuf {
    repository().join("deploy").join(path)
}

/// The text of a file, by its path in the repository.
pub(crate) fn text(path: &str) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a YAML text; a duplicate key is an error.
pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}\nin:\n{yaml}"))
}

/// The only document of a YAML file, by its path in the repository.
pub(crate) fn document(path: &str) -> Value {
    let mut all = documents(&text(path));
    assert_eq!(all.len(), 1, "{path}");
    all.remove(0)
}

/// All files below a folder of `deploy/`, as paths from there.
pub(crate) fn all_files(folder: &str) -> Vec<String> {
    let root = deployed(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// A string in a document, by JSON pointer.
pub(crate) fn string<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text at {pointer} of {value}"))
}

/// A list in a document, by JSON pointer.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .unwrap_or_else(|| panic!("no list at {pointer} of {value}"))
}

/// The heading that an anchor leads to, as the anchors of rendered Markdown are made.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter(|sign| sign.is_alphanumeric() || "-_ ".contains(*sign))
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn what_the_pages_about_deploying_name_is_there() {
    for page in ["deploy/README.md", "deploy/monitoring/README.md", "docs/migrating-from-kube-proxy.md"] {
        let folder = repository().join(page).parent().unwrap().to_owned();
        let page_text = text(page);
        for link in page_text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { repository().join(page) } else { folder.join(path) };
            assert!(target.exists(), "{page} links to {link}");
            if !heading.is_empty() {
                let target = fs::read_to_string(&target).unwrap();
                let found = target.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
                assert!(found, "{page} links to {link}");
            }
        }
        let words = page_text.split(|sign: char| sign.is_whitespace() || "`(),;:".contains(sign));
        for path in words.filter(|word| word.starts_with("deploy/")) {
            assert!(repository().join(path.trim_end_matches('.')).exists(), "{page} names {path}");
        }
    }
}
