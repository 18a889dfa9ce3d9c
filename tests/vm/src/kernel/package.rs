//! Which package holds the kernel of a Debian release, and the package itself.
//!
//! The host may run another release, or the same with other sources: apt is asked with a configuration of its
//! own that names one release at the mirror which the host uses. So the host's package lists stay as they are.

use std::fs;
use std::path::{Path, PathBuf};

use portolan_testkit::netns::Program;

use crate::VmError;

/// The package that depends on the newest cloud kernel of a release.
const NEWEST: &str = "linux-image-cloud-amd64";

/// The keys of all of Debian's releases, of the package debian-archive-keyring.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Fetches the package with the newest cloud kernel of a release into a folder.
pub(super) fn fetch(suite: &'static str, folder: &Path) -> Result<PathBuf, VmError> {
    let apt = Apt::configure(suite, folder)?;
    apt.run("apt-get", &["-qq", "update"]).map_err(VmError::step(format!("read the packages of {suite}")))?;
    let depends = apt.run("apt-cache", &["depends", NEWEST]);
    let depends = depends.map_err(VmError::step(format!("look into {NEWEST}")))?;
    let package = dependency(&depends).ok_or(VmError::NoPackage { suite, reason: "it depends on none" })?;
    // apt puts it where it is called.
    let here = Program::new("env").args(["-C".into(), folder.as_os_str().to_owned(), "apt-get".into()]);
    let download = here.args(apt.options()).args(["-qq", "download", package]);
    download.run().map_err(VmError::step(format!("fetch {package}")))?;
    let files = fs::read_dir(folder).map_err(VmError::io("list", &folder.display()))?;
    let mut paths = files.filter_map(|file| Some(file.ok()?.path()));
    let is_package = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "deb");
    paths.find(is_package).ok_or(VmError::NoPackage { suite, reason: "nothing was fetched" })
}

/// The package in the answer of `apt-cache depends` that an image depends on.
fn dependency(answer: &str) -> Option<&str> {
    answer.lines().find_map(|line| line.trim().strip_prefix("Depends: "))
}

/// apt with one source.
struct Apt {
    state: PathBuf,
    sources: PathBuf,
}

impl Apt {
    fn configure(suite: &'static str, folder: &Path) -> Result<Self, VmError> {
        let (state, sources) = (folder.join("apt"), folder.join("sources.list"));
        let partial = state.join("lists/partial");
        fs::create_dir_all(&partial).map_err(VmError::io("make the folder", &partial.display()))?;
        let mirror = mirror(suite)?;
        let line = format!("deb [arch=amd64 signed-by={KEYS}] {mirror} {suite} main\n");
        fs::write(&sources, line).map_err(VmError::io("write", &sources.display()))?;
        Ok(Self { state, sources })
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<String, portolan_testkit::netns::NetnsError> {
        Program::new(program).args(self.options()).args(words.iter().copied()).run()
    }

    fn options(&self) -> Vec<String> {
        let settings = [
            format!("Dir::State={}", self.state.display()),
            format!("Dir::Cache={}", self.state.display()),
            format!("Dir::Etc::SourceList={}", self.sources.display()),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Acquire::Languages=none".to_owned(),
            // The folder may be one that apt's own user cannot enter.
            "APT::Sandbox::User=root".to_owned(),
        ];
        settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect()
    }
}

/// The mirror of Debian that this host uses.
fn mirror(suite: &'static str) -> Result<String, VmError> {
    let list =
        Program::new("apt-get").args(["indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(REPO_URI)"]);
    let list = list.run().map_err(VmError::step("ask apt for its mirrors"))?;
    let mirror = list.lines().find_map(|line| line.strip_prefix("Debian main "));
    mirror.map(str::to_owned).ok_or(VmError::NoPackage { suite, reason: "this host has no mirror of Debian" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_image_is_what_the_package_depends_on() {
        let answer = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-53-cloud-amd64\n";
        assert_eq!(dependency(answer), Some("linux-image-6.1.0-53-cloud-amd64"));
        assert_eq!(dependency("linux-image-cloud-amd64\n"), None);
    }
}
