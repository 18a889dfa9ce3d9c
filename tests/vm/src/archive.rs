//! Archives as the kernel unpacks them into its first file system: cpio of the kind "newc".
//!
//! Every entry is a header of 8-digit hexadecimal numbers, its name and its content, each padded to four
//! bytes (kernel: driver-api/early-userspace/buffer-format.rst). A folder comes before what is in it.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Kinds of entries, in the upper bits of their mode (linux/stat.h).
mod kind {
    pub(super) const FOLDER: u32 = 0o040_000;
    pub(super) const FILE: u32 = 0o100_000;
    pub(super) const CHARACTER_DEVICE: u32 = 0o020_000;
}

/// The name of the entry that ends an archive.
const END: &str = "TRAILER!!!";

/// An archive in the making.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    known: BTreeSet<PathBuf>,
}

impl Archive {
    /// Puts a folder in, and those that it is in.
    pub(crate) fn folder(&mut self, path: &Path) {
        let mut folder = PathBuf::new();
        for part in path.components() {
            if let Component::Normal(part) = part {
                folder.push(part);
                if self.known.insert(folder.clone()) {
                    self.entry(&folder, kind::FOLDER | 0o755, (0, 0), &[]);
                }
            }
        }
    }

    /// Adds a file that all users may read and run. The first of a name counts.
    pub(crate) fn file(&mut self, path: &Path, content: &[u8]) {
        if let Some(path) = self.place(path) {
            self.entry(&path, kind::FILE | 0o755, (0, 0), content);
        }
    }

    /// Puts a character device in, by its two numbers.
    pub(crate) fn character_device(&mut self, path: &Path, numbers: (u32, u32)) {
        if let Some(path) = self.place(path) {
            self.entry(&path, kind::CHARACTER_DEVICE | 0o600, numbers, &[]);
        }
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(Path::new(END), 0, (0, 0), &[]);
        self.bytes
    }

    /// Makes room for an entry: the name it has in the archive, unless that is taken.
    fn place(&mut self, path: &Path) -> Option<PathBuf> {
        let path = path.strip_prefix("/").unwrap_or(path);
        if let Some(parent) = path.parent() {
            self.folder(parent);
        }
        self.known.insert(path.to_owned()).then(|| path.to_owned())
    }

    fn entry(&mut self, path: &Path, mode: u32, device: (u32, u32), content: &[u8]) {
        let name = path.as_os_str().as_encoded_bytes();
        self.entries += 1;
        // Inode, mode, owner, group, links, time, size, device and number of the device, length of the
        // name with its zero, checksum. Archives larger than a header can say would not fit a guest.
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let header = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, length, 0];
        self.bytes.extend_from_slice(b"070701");
        for number in header {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, modes and contents of an archive, read back by the format's description.
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        let whole = bytes.len();
        while !bytes.is_empty() {
            assert_eq!(&bytes[..6], b"070701");
            let number = |index: usize| {
                let digits = std::str::from_utf8(&bytes[6 + 8 * index..14 + 8 * index]).unwrap();
                u32::from_str_radix(digits, 16).unwrap()
            };
            let (mode, size, length) = (number(1), number(6) as usize, number(11) as usize);
            let name = String::from_utf8(bytes[110..110 + length - 1].to_vec()).unwrap();
            let start = (110 + length).next_multiple_of(4);
            let content = bytes[start..start + size].to_vec();
            bytes = &bytes[(start + size).next_multiple_of(4)..];
            assert_eq!((whole - bytes.len()) % 4, 0);
            entries.push((name, mode, content));
        }
        entries
    }

    #[test]
    fn folders_come_once_and_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.file(Path::new("/lib/modules/one.ko"), b"first");
        archive.file(Path::new("/lib/modules/two.ko"), b"second!");
        archive.character_device(Path::new("/dev/console"), (5, 1));
        let read = read(&archive.finish());
        let names: Vec<_> = read.iter().map(|(name, mode, _)| format!("{name} {mode:o}")).collect();
        assert_eq!(
            names,
            [
                "lib 40755",
                "lib/modules 40755",
                "lib/modules/one.ko 100755",
                "lib/modules/two.ko 100755",
                "dev 40755",
                "dev/console 20600",
                "TRAILER!!! 0",
            ]
        );
        assert_eq!(read[3].2, b"second!");
    }

    #[test]
    fn the_first_file_of_a_name_counts() {
        let mut archive = Archive::default();
        archive.file(Path::new("/a"), b"first");
        archive.file(Path::new("/a"), b"second");
        let read = read(&archive.finish());
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].2, b"first");
    }
}
