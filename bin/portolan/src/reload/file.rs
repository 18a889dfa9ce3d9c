//! Tells when one file has other contents than before.
//!
//! The folder around the file is watched, which shows writes in place, another file renamed over it, and
//! the `..data` link that a mounted ConfigMap swaps. Whatever is shown, only the contents decide; and since
//! links may lead to folders that nobody watches, they are looked at now and then anyway.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use inotify::{EventMask, EventStream, Inotify, WatchMask};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::warn;

/// Between looks at the contents if nothing calls for one.
const PERIOD: Duration = Duration::from_secs(10);

/// Without a notification for this long whoever changed something is done.
const SETTLE: Duration = Duration::from_millis(100);

/// A program that writes a file in place is given this long to close it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Room for some notifications at a time; more wait in the kernel.
const BUFFER: usize = 4096;

/// Notifications that the kernel keeps for a watch (`fs.inotify.max_queued_events`, by default).
const QUEUED: usize = 16_384;

/// Watches one file.
pub(crate) struct FileWatch {
    path: PathBuf,
    /// Nothing if the file could not be read.
    known: Option<Vec<u8>>,
    stream: Option<EventStream<Vec<u8>>>,
}

impl FileWatch {
    /// Watches the file that is read by this path; what it holds now is known.
    pub(crate) fn new(path: &Path) -> Self {
        let stream = folder_events(path)
            .inspect_err(|error| {
                warn!(file = %path.display(), err = %error, looks_every = ?PERIOD, "cannot watch the folder");
            })
            .ok();
        Self { path: path.to_owned(), known: fs::read(path).ok(), stream }
    }

    /// Waits until the file can be read and holds something else than before.
    pub(crate) async fn changed(&mut self) {
        loop {
            self.wait().await;
            match fs::read(&self.path) {
                Ok(now) if self.known.as_ref() != Some(&now) => {
                    self.known = Some(now);
                    return;
                }
                Ok(_) => {}
                Err(error) => {
                    if self.known.take().is_some() {
                        let file = self.path.display();
                        warn!(%file, err = %error, "the configuration file cannot be read; what it said holds");
                    }
                }
            }
        }
    }

    /// Waits for a reason to look, and for whoever gave it to be done.
    async fn wait(&mut self) {
        let Some(stream) = &mut self.stream else { return sleep(PERIOD).await };
        let event = match timeout(PERIOD, stream.next()).await {
            Err(_elapsed) => return,
            Ok(Some(Ok(event))) => event,
            Ok(Some(Err(_)) | None) => {
                self.stream = None;
                return;
            }
        };
        settle(stream, event.mask).await;
        // At most as many as the kernel keeps, for a program that writes on and on.
        for _ in 0..QUEUED {
            let Some(Some(Ok(_event))) = stream.next().now_or_never() else { break };
        }
    }
}

/// Waits until nothing has happened for a moment. A file that is being written in place is empty or half
/// full in between, and the writer may be slow: it has longer, until it closes the file.
async fn settle(stream: &mut EventStream<Vec<u8>>, mut last: EventMask) {
    let end = Instant::now() + PATIENCE;
    loop {
        let until = if last.contains(EventMask::MODIFY) { end } else { end.min(Instant::now() + SETTLE) };
        match timeout_at(until, stream.next()).await {
            Ok(Some(Ok(event))) => last = event.mask,
            Ok(Some(Err(_)) | None) | Err(_) => return,
        }
    }
}

fn folder_events(path: &Path) -> io::Result<EventStream<Vec<u8>>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let inotify = Inotify::init()?;
    let mask = WatchMask::CLOSE_WRITE | WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO;
    inotify.watches().add(folder, mask)?;
    inotify.into_event_stream(vec![0; BUFFER])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Whether a change is noticed before the next look that nothing calls for.
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
        assert!(timeout(SETTLE * 8, watch.changed()).await.is_err(), "the same contents, and another file");
    }

    #[tokio::test]
    async fn a_thousand_writes_are_worth_a_look_or_two() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.conf");
        fs::write(&file, "0").unwrap();
        let mut watch = FileWatch::new(&file);
        for number in 0..1000 {
            fs::write(dir.path().join(format!("other-{number}")), "x").unwrap();
            fs::write(&file, format!("{number}")).unwrap();
        }
        assert!(is_noticed(&mut watch).await);
        let queued = watch.stream.as_mut().unwrap().next().now_or_never();
        assert!(queued.is_none(), "what has been looked at is not a reason to look again: {queued:?}");
    }

    #[tokio::test]
    async fn a_slow_writer_is_waited_for() {
        use std::io::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.conf");
        fs::write(&path, "old").unwrap();
        let mut watch = FileWatch::new(&path);
        let mut file = fs::File::create(&path).unwrap();
        let write = async {
            for part in ["half ", "full"] {
                sleep(SETTLE * 3).await;
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
