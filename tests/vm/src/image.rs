//! The guest's first file system: busybox, modules, and what the test wants.

use std::fs;
use std::path::{Path, PathBuf};

use crate::archive::Archive;
use crate::modules::Modules;
use crate::{VmError, programs};

/// The guest's first process.
const INIT: &str = include_str!("init.sh");

/// Folders of the kernel's tree whose modules a guest may load: all of the network, and the devices that
/// namespaces are joined with.
const LOADABLE: [&str; 3] = ["kernel/net/", "kernel/drivers/net/dummy", "kernel/drivers/net/veth"];

/// The lists that modprobe reads, beginning of their names.
const LISTS: &str = "modules.";

/// Folders that programs expect.
const FOLDERS: [&str; 11] =
    ["/bin", "/dev", "/etc", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr/sbin", "/var/tmp"];

/// A file system in the making.
pub(crate) struct Image {
    archive: Archive,
}

impl Image {
    /// What every guest has.
    pub(crate) fn new() -> Result<Self, VmError> {
        let mut image = Self { archive: Archive::default() };
        for folder in FOLDERS {
            image.archive.folder(Path::new(folder));
        }
        // The kernel wants it before anything is mounted (linux/major.h: TTYAUX_MAJOR).
        image.archive.character_device(Path::new("/dev/console"), (5, 1));
        image.archive.file(Path::new("/init"), INIT.as_bytes());
        image.archive.file(Path::new("/etc/passwd"), b"root:x:0:0:root:/root:/bin/sh\n");
        image.archive.file(Path::new("/etc/group"), b"root:x:0:\n");
        image.archive.file(Path::new("/etc/hosts"), b"127.0.0.1 localhost\n::1 localhost\n");
        image.executable(&programs::find("busybox")?, Path::new("/bin/busybox"))?;
        // Where the kernel looks for it (CONFIG_MODPROBE_PATH). Its name tells it what to do.
        image.executable(&programs::find("modprobe")?, Path::new("/sbin/modprobe"))?;
        Ok(image)
    }

    /// Puts the network's modules in, and those `wanted`, which are loaded at once; without `absent` and
    /// what needs them.
    pub(crate) fn modules(
        &mut self,
        modules: &Modules,
        wanted: &[String],
        absent: &[String],
    ) -> Result<(), VmError> {
        let folder = PathBuf::from("/lib/modules").join(modules.release());
        let lists =
            fs::read_dir(modules.folder()).map_err(VmError::io("list", &modules.folder().display()))?;
        let names = lists.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let lists = names.filter(|name| name.starts_with(LISTS));
        let files = modules.below(&LOADABLE, absent);
        for file in lists.chain(files).chain(modules.with_needs(wanted)?) {
            self.file(&modules.folder().join(&file), &folder.join(&file))?;
        }
        let list = wanted.join("\n") + if wanted.is_empty() { "" } else { "\n" };
        self.text(Path::new("/vm/modules"), &list);
        Ok(())
    }

    /// Puts an executable in, with the libraries that it loads.
    pub(crate) fn executable(&mut self, source: &Path, place: &Path) -> Result<(), VmError> {
        self.file(source, place)?;
        for library in programs::libraries(source)? {
            self.file(&library, &library)?;
        }
        Ok(())
    }

    /// Puts text in.
    pub(crate) fn text(&mut self, place: &Path, text: &str) {
        self.archive.file(place, text.as_bytes());
    }

    fn file(&mut self, source: &Path, place: &Path) -> Result<(), VmError> {
        let content = fs::read(source).map_err(VmError::io("read", &source.display()))?;
        self.archive.file(place, &content);
        Ok(())
    }

    /// The file system as the kernel takes it.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.archive.finish()
    }
}
