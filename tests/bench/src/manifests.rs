//! Clusters as folders of manifests.

use anyhow::Context as _;
use portolan_testkit::netns::ManifestFolder;
use serde_json::Value;

/// Objects in one file.
const PER_FILE: usize = 200;

/// Writes objects into a folder of files of a common size.
pub(crate) fn folder(objects: impl Iterator<Item = Value>) -> anyhow::Result<ManifestFolder> {
    let folder = ManifestFolder::create()?;
    let mut objects = objects.peekable();
    for file in 0.. {
        if objects.peek().is_none() {
            break;
        }
        // JSON is YAML, too.
        let documents =
            objects.by_ref().take(PER_FILE).flat_map(|object| ["---".to_owned(), object.to_string()]);
        let text = documents.collect::<Vec<_>>().join("\n");
        folder.write(&format!("{file}.yaml"), &text).context("cannot write the cluster")?;
    }
    Ok(folder)
}
