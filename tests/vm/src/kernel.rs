//! Kernels to boot: Debian's own, unpacked into a cache and never installed.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{env, io};

use portolan_testkit::netns::Program;
use tempfile::TempDir;

use crate::VmError;
use crate::modules::Modules;

mod package;

/// Which kernel a guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Linux 5.10, of Debian 11.
    Bullseye,
    /// Linux 6.1, of Debian 12.
    Bookworm,
    /// Linux 6.12, of Debian 13.
    Trixie,
}

impl Kernel {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::Bullseye, Self::Bookworm, Self::Trixie];

    /// Debian's name of the release.
    pub const fn suite(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// The kernel's files, fetched and unpacked if that was not done before.
    ///
    /// Tests ask for it from many processes at once, and all but the first wait.
    pub(crate) fn obtain(self) -> Result<Files, VmError> {
        let cache = cache();
        fs::create_dir_all(&cache).map_err(VmError::io("make the folder", &cache.display()))?;
        let lock = cache.join(format!("{}.lock", self.suite()));
        let lock_file = File::create(&lock).map_err(VmError::io("open", &lock.display()))?;
        lock_file.lock().map_err(VmError::io("lock", &lock.display()))?;
        let folder = cache.join(self.suite());
        if !folder.exists() {
            self.unpack_into(&cache, &folder)?;
        }
        Files::find(&folder)
    }

    /// Fetches the package and unpacks it beside `folder`, which it becomes when it is whole.
    fn unpack_into(self, cache: &Path, folder: &Path) -> Result<(), VmError> {
        let work = TempDir::new_in(cache).map_err(VmError::io("make a folder in", &cache.display()))?;
        let package = package::fetch(self.suite(), work.path())?;
        let root = work.path().join("root");
        let unpack =
            Program::new("dpkg-deb").args(["-x".into(), package.into_os_string(), root.clone().into()]);
        unpack.run().map_err(VmError::step("unpack the kernel"))?;
        link_libraries(&root)?;
        let files = Files::find(&root)?;
        let index = Program::new(crate::programs::find("depmod")?);
        let index = index.args(["-b".into(), root.clone().into_os_string(), files.release()?.into()]);
        index.run().map_err(VmError::step("list the kernel's modules"))?;
        fs::rename(&root, folder).map_err(VmError::io("move into place", &folder.display()))
    }
}

/// Makes `/lib` lead to `/usr/lib`, which Debian's packages name from release 13 on, as it does on every host.
fn link_libraries(root: &Path) -> Result<(), VmError> {
    let link = root.join("lib");
    if link.exists() {
        return Ok(());
    }
    symlink("usr/lib", &link).map_err(VmError::io("make the link", &link.display()))
}

/// Where kernels are kept: with what else is built and can be had again.
fn cache() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target"))).join("vm")
}

/// The files of a kernel.
#[derive(Debug)]
pub(crate) struct Files {
    /// What qemu boots.
    pub(crate) image: PathBuf,
    modules: PathBuf,
}

impl Files {
    /// Finds the kernel of an unpacked package.
    fn find(root: &Path) -> Result<Self, VmError> {
        let found = only_entry(&root.join("boot"), "vmlinuz-").and_then(|image| {
            let modules = only_entry(&root.join("lib/modules"), "")?;
            Ok(Self { image, modules })
        });
        found.map_err(VmError::io("find a kernel in", &root.display()))
    }

    /// The kernel's release, which `uname -r` prints.
    fn release(&self) -> Result<String, VmError> {
        let name = self.modules.file_name().map(|name| name.to_string_lossy().into_owned());
        name.ok_or_else(|| {
            VmError::io("read the name of", &self.modules.display())(io::ErrorKind::NotFound.into())
        })
    }

    /// The kernel's modules.
    pub(crate) fn modules(&self) -> Result<Modules, VmError> {
        Modules::read(self.modules.clone())
    }
}

/// The one entry of a folder whose name starts so.
fn only_entry(folder: &Path, prefix: &str) -> io::Result<PathBuf> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut fitting = entries.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only.path()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}
