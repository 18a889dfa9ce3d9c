//! The image's recipe. No registry is within a test's reach, so that it builds is not shown here; that cargo finds
//! all it reads is, and what the image must hold.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use portolan_testkit::netns::{Portolan, Program};

use crate::files::{repository, text};

/// The Debian packages that the recipe unpacks.
fn packages() -> BTreeSet<String> {
    let recipe = text("deploy/Containerfile");
    let (_, list) = recipe.split_once("apt-get download").unwrap();
    let (list, _) = list.split_once("\nRUN").unwrap();
    list.split_whitespace().filter(|word| *word != "\\").map(str::to_owned).collect()
}

/// The package that a file of this machine is from.
fn package_of(file: &str) -> String {
    // Debian 12 has one folder under two names, and packages know their files by either.
    let names = [file.to_owned(), format!("/usr{file}"), file.trim_start_matches("/usr").to_owned()];
    let owner = names.iter().find_map(|name| Program::new("dpkg").args(["-S", name]).run().ok());
    let owner = owner.unwrap_or_else(|| panic!("{file} is of no package"));
    owner.split(':').next().unwrap().to_owned()
}

/// The packages with the libraries that a program links.
fn linked_by(program: &str) -> BTreeSet<String> {
    let listing = Program::new("ldd").args([program]).run().unwrap();
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned);
    listing.lines().filter_map(path).map(|library| package_of(&library)).collect()
}

#[test]
fn the_image_has_every_library_that_the_binary_links() {
    let needed = linked_by(Portolan::binary().unwrap().to_str().unwrap());

    assert!(needed.contains("libnftnl11") && needed.contains("libmnl0"), "{needed:?}");
    assert_eq!(needed.difference(&packages()).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn the_image_has_every_library_that_its_programs_link() {
    for program in ["/usr/sbin/xtables-nft-multi", "/usr/sbin/xtables-legacy-multi"] {
        let missing: Vec<_> = linked_by(program).difference(&packages()).cloned().collect();
        assert!(missing.is_empty(), "{program} needs {missing:?}");
    }
}

/// What the build copies from the repository, all of it by its own name.
fn sources() -> BTreeSet<String> {
    let recipe = text("deploy/Containerfile");
    let lines = recipe.lines().filter_map(|line| line.strip_prefix("COPY "));
    let copied = lines.filter(|line| !line.starts_with("--from"));
    copied.flat_map(|line| line.split_whitespace()).filter(|word| *word != "./").map(str::to_owned).collect()
}

/// A workspace with a member that is not there is one that cargo does not build at all.
#[test]
fn cargo_finds_every_package_in_what_the_image_is_built_from() {
    let copy = tempfile::tempdir().unwrap();
    for source in sources() {
        symlink(repository().join(&source), copy.path().join(&source)).unwrap();
    }
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let manifest = copy.path().join("Cargo.toml");
    let manifest = manifest.to_str().unwrap();
    let metadata =
        ["metadata", "--no-deps", "--offline", "--locked", "--format-version=1", "--manifest-path"];
    let found = Program::new(cargo).args(metadata).args([manifest]).run().unwrap();
    assert!(found.contains("\"name\":\"portolan\""), "{found}");
}

#[test]
fn the_image_has_the_binary_under_the_path_that_kubeadm_starts() {
    let recipe = text("deploy/Containerfile");

    assert!(recipe.contains("ln -s portolan /image/usr/local/bin/kube-proxy"));
    assert!(recipe.trim_end().ends_with("COPY --from=build /out/portolan /usr/local/bin/portolan"));
}
