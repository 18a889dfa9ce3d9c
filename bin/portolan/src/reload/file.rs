//! Notices when one file has other contents than before.
//!
//! The folder of the file is watched; see [`FolderWatch`]. Only a change of the contents counts. Because links may lead
//! to folders that are not watched, the file is read periodically as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portolan_source::FolderWatch;
use tokio::time::Instant;
use tracing::warn;

/// Between two reads without a notification.
const PERIOD: Duration = Duration::from_secs(10);

/// Watches one file.
pub(crate) struct FileWatch {
    path: PathBuf,
    /// Nothing if the file could not be read.
    known: Option<Vec<u8>>,
    folder: FolderWatch,
}

impl FileWatch {
    /// Watches the file at this path, whose present contents are known.
    pub(crate) fn new(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut folder = FolderWatch::new(folder, |_| true);
        folder.arm();
        Self { path: path.to_owned(), known: fs::read(path).ok(), folder }
    }

    /// Waits until the file can be read and has other contents than before.
    pub(crate) async fn changed(&mut self) {
        loop {
            let changes = self.folder.wait(Instant::now() + PERIOD).await;
            self.folder.arm();
            if changes.is_being_written(&self.path) {
                continue;
            }
            match fs::read(&self.path) {
                Ok(now) if self.known.as_ref() != Some(&now) => {
                    self.known = Some(now);
                    return;
                }
                Ok(_) => {}
                Err(error) => {
                    if self.known.take().is_some() {
                        let file = self.path.display();
                        warn!(%file, err = %error, "Cannot read the configuration file; its last contents remain in effect");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::time::{sleep, timeout};

    use super::*;

    /// Longer than it takes to notice a change.
    const A_WHILE: Duration = Duration::from_millis(800);

    /// Whether a change is noticed before the next periodic read.
    async fn is_noticed(watch: &mut FileWatch) -> bool {
        timeout(PERIOD / 2, watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn every_way_to_change_a_file_is_noticed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.conf");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::new(&file);
        fs::write(&file, "b").unwrap();
        assert!(is_noticed(&mut watch).await, "written in place");
        fs::write(dir.path().join("new"), "c").unwrap();
        fs::rename(dir.path().join("new"), &file).unwrap();
        assert!(is_noticed(&mut watch).await, "renamed over");
        fs::remove_file(&file).unwrap();
        fs::write(&file, "d").unwrap();
        assert!(is_noticed(&mut watch).await, "removed and made again");
        fs::write(&file, "d").unwrap();
        fs::write(dir.path().join("other"), "e").unwrap();
        assert!(timeout(A_WHILE, watch.changed()).await.is_err(), "the same contents, and another file");
    }

    #[tokio::test]
    async fn a_thousand_writes_are_one_read_or_two() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.conf");
        fs::write(&file, "0").unwrap();
        let mut watch = FileWatch::new(&file);
        for number in 0..1000 {
            fs::write(dir.path().join(format!("other-{number}")), "x").unwrap();
            fs::write(&file, format!("{number}")).unwrap();
        }
        assert!(is_noticed(&mut watch).await);
        let changes = watch.folder.wait(Instant::now() + A_WHILE).await;
        assert!(changes.is_empty(), "a change that has been read is not a reason to read again: {changes:?}");
    }

    #[tokio::test]
    async fn a_slow_writer_can_complete_the_file() {
        use std::io::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.conf");
        fs::write(&path, "old").unwrap();
        let mut watch = FileWatch::new(&path);
        let mut file = fs::File::create(&path).unwrap();
        let write = async {
            for part in ["half ", "full"] {
                sleep(A_WHILE / 2).await;
                file.write_all(part.as_bytes()).unwrap();
            }
            drop(file);
        };
        tokio::join!(watch.changed(), write);
        assert_eq!(watch.known.as_deref(), Some(&b"half full"[..]));
    }

    #[tokio::test]
    async fn a_config_map_that_swaps_its_link_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["..v1", "..v2"] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("config.conf"), version).unwrap();
        }
        symlink("..v1", dir.path().join("..data")).unwrap();
        symlink("..data/config.conf", dir.path().join("config.conf")).unwrap();
        let mut watch = FileWatch::new(&dir.path().join("config.conf"));
        symlink("..v2", dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        assert!(is_noticed(&mut watch).await);
    }
}
