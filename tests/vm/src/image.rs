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

/// Files that programs look into: who root is, who this host, and how protocols are called (IANA, "Assigned
/// Internet Protocol Numbers").
const TEXTS: [(&str, &str); 4] = [
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("/etc/group", "root:x:0:\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("/etc/protocols", "icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\nsctp 132 SCTP\n"),
];

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
        for (place, text) in TEXTS {
            image.text(Path::new(place), text);
        }
        image.executable(&programs::find("busybox")?, Path::new("/bin/busybox"))?;
        // Busybox's own shell would run its own programs before those in PATH.
        image.executable(&programs::find("sh")?, Path::new("/bin/sh"))?;
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

    /// Puts a file or a folder in, where it is on this host.
    pub(crate) fn copy(&mut self, path: &Path) -> Result<(), VmError> {
        if !path.is_dir() {
            return self.executable(path, path);
        }
        let entries = fs::read_dir(path).map_err(VmError::io("list", &path.display()))?;
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(VmError::io("list", &path.display()))?;
        entries.iter().try_for_each(|entry| self.copy(&entry.path()))
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
