//! A folder of manifests for the proxy to read, changed as carefully as a good tool would.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::NetnsError;

/// A temporary folder for `--manifests`; it goes with the handle.
#[derive(Debug)]
pub struct ManifestFolder {
    /// Holds the watched folder and, beside it, files in the making.
    around: TempDir,
}

impl ManifestFolder {
    /// An empty folder.
    ///
    /// # Errors
    /// When no temporary folder can be made.
    pub fn create() -> Result<Self, NetnsError> {
        let around = tempfile::tempdir().map_err(NetnsError::io("make", "a temporary folder"))?;
        let folder = Self { around };
        let path = folder.path();
        fs::create_dir(&path).map_err(NetnsError::io("make", path.display().to_string()))?;
        Ok(folder)
    }

    /// The folder to hand to the proxy.
    pub fn path(&self) -> PathBuf {
        self.around.path().join("manifests")
    }

    /// Puts a file in place, new or in exchange for the old one, so that a reader meets it whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, yaml: &str) -> Result<(), NetnsError> {
        let target = self.path().join(name);
        let failed = || NetnsError::io("write", target.display().to_string());
        let draft = self.around.path().join(name);
        fs::write(&draft, yaml).map_err(failed())?;
        fs::rename(&draft, &target).map_err(failed())
    }

    /// Copies a file from elsewhere into place, under its own name.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn copy(&self, file: &Path) -> Result<(), NetnsError> {
        let unreadable = || NetnsError::io("read", file.display().to_string());
        let yaml = fs::read_to_string(file).map_err(unreadable())?;
        self.write(&file.file_name().unwrap_or_default().to_string_lossy(), &yaml)
    }

    /// Takes a file away.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove(&self, name: &str) -> Result<(), NetnsError> {
        let target = self.path().join(name);
        fs::remove_file(&target).map_err(NetnsError::io("remove", target.display().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &ManifestFolder) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn folder_shows_whole_files_only() {
        let folder = ManifestFolder::create().unwrap();

        folder.write("web.yaml", "kind: Service\n").unwrap();
        folder.write("web.yaml", "kind: List\n").unwrap();

        assert_eq!(names(&folder), ["web.yaml"]);
        assert_eq!(fs::read_to_string(folder.path().join("web.yaml")).unwrap(), "kind: List\n");
    }

    #[test]
    fn removed_file_is_gone_and_cannot_be_removed_again() {
        let folder = ManifestFolder::create().unwrap();
        folder.write("web.yaml", "kind: Service\n").unwrap();

        folder.remove("web.yaml").unwrap();

        assert!(names(&folder).is_empty());
        folder.remove("web.yaml").unwrap_err();
    }
}
