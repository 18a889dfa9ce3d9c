//! Which modules a kernel has, and which each of them needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::VmError;

/// The modules of one kernel, as `modules.dep` lists them.
#[derive(Debug)]
pub(crate) struct Modules {
    release: String,
    /// Where the modules lie.
    folder: PathBuf,
    /// Each module's file and those of all that it needs, by its name.
    needs: BTreeMap<String, Vec<String>>,
    /// The names of those that are part of the kernel itself.
    builtin: BTreeSet<String>,
}

impl Modules {
    /// Reads the lists in the folder of a kernel's modules, which is called as its release.
    pub(crate) fn read(folder: PathBuf) -> Result<Self, VmError> {
        let read = |list: &str| {
            let path = folder.join(list);
            fs::read_to_string(&path).map_err(VmError::io("read", &path.display()))
        };
        let needs = parse(&read("modules.dep")?);
        let builtin = read("modules.builtin")?.lines().map(name).collect();
        let release = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { release, folder, needs, builtin })
    }

    /// The kernel's release, which `uname -r` prints.
    pub(crate) fn release(&self) -> &str {
        &self.release
    }

    /// Where the modules lie, and the lists of them.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files of these modules and of all that they need. What is part of the kernel itself has none.
    pub(crate) fn with_needs(&self, wanted: &[String]) -> Result<BTreeSet<String>, VmError> {
        let mut files = BTreeSet::new();
        for module in wanted {
            match self.needs.get(&name(module)) {
                Some(needs) => files.extend(needs.iter().cloned()),
                None if self.builtin.contains(&name(module)) => {}
                None => {
                    let (release, module) = (self.release.clone(), module.clone());
                    return Err(VmError::NoModule { release, module });
                }
            }
        }
        Ok(files)
    }

    /// The files below these folders, with all that they need, but none of `absent` nor what needs one.
    pub(crate) fn below(&self, folders: &[&str], absent: &[String]) -> BTreeSet<String> {
        let absent: Vec<_> = absent.iter().map(|module| name(module)).collect();
        let is_wanted = |files: &&Vec<String>| {
            files.first().is_some_and(|file| folders.iter().any(|folder| file.starts_with(folder)))
        };
        let can_load = |files: &&Vec<String>| !files.iter().any(|file| absent.contains(&name(file)));
        self.needs.values().filter(is_wanted).filter(can_load).flatten().cloned().collect()
    }
}

/// The lines `file: what it needs`, by the name of the module.
fn parse(list: &str) -> BTreeMap<String, Vec<String>> {
    let lines = list.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(file, needs)| {
            let files = std::iter::once(file).chain(needs.split_whitespace());
            (name(file), files.map(str::to_owned).collect())
        })
        .collect()
}

/// The name of the module in a file: without folder and endings, and with one spelling of its dashes.
fn name(file: &str) -> String {
    let file = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
kernel/net/netfilter/ipvs/ip_vs.ko: kernel/net/netfilter/nf_conntrack.ko kernel/lib/libcrc32c.ko
kernel/net/netfilter/ipvs/ip_vs_rr.ko: kernel/net/netfilter/ipvs/ip_vs.ko kernel/net/netfilter/nf_conntrack.ko kernel/lib/libcrc32c.ko
kernel/net/netfilter/nf_conntrack.ko: kernel/lib/libcrc32c.ko
kernel/lib/libcrc32c.ko:
kernel/fs/xfs/xfs.ko: kernel/lib/libcrc32c.ko
kernel/drivers/net/dummy.ko.xz:
kernel/net/802/p8022.ko:
";

    fn modules() -> Modules {
        Modules {
            release: "6.1".to_owned(),
            folder: PathBuf::new(),
            needs: parse(LIST),
            builtin: ["unix".to_owned()].into(),
        }
    }

    #[test]
    fn a_module_comes_with_all_that_it_needs() {
        let wanted = ["ip-vs-rr".to_owned(), "dummy".to_owned(), "unix".to_owned()];
        let files = modules().with_needs(&wanted).unwrap();
        let names: Vec<_> = files.iter().map(|file| name(file)).collect();
        assert_eq!(names, ["dummy", "libcrc32c", "ip_vs", "ip_vs_rr", "nf_conntrack"]);
    }

    #[test]
    fn a_module_that_the_kernel_lacks_is_named() {
        let error = modules().with_needs(&["ip_vs_unheard".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "the kernel 6.1 has no module ip_vs_unheard");
    }

    #[test]
    fn a_folder_brings_what_its_modules_need_from_others() {
        let files = modules().below(&["kernel/net/"], &[]);
        let names: Vec<_> = files.iter().map(|file| name(file)).collect();
        assert_eq!(names, ["libcrc32c", "p8022", "ip_vs", "ip_vs_rr", "nf_conntrack"]);
    }

    #[test]
    fn a_module_that_is_to_be_absent_takes_those_along_that_need_it() {
        let files = modules().below(&["kernel/net/"], &["nf-conntrack".to_owned()]);
        let names: Vec<_> = files.iter().map(|file| name(file)).collect();
        assert_eq!(names, ["p8022"]);
    }
}
