//! The image's recipe. No registry is within a test's reach, so that it builds is not shown here; what it must
//! hold is.

use std::collections::BTreeSet;

use portolan_testkit::netns::{Portolan, Program};

use crate::files::text;

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
    for program in ["/usr/sbin/xtables-nft-multi", "/usr/sbin/xtables-legacy-multi", "/usr/sbin/ipset"] {
        let missing: Vec<_> = linked_by(program).difference(&packages()).cloned().collect();
        assert!(missing.is_empty(), "{program} needs {missing:?}");
    }
}

#[test]
fn the_image_has_the_binary_under_the_path_that_kubeadm_starts() {
    let recipe = text("deploy/Containerfile");

    assert!(recipe.contains("ln -s portolan /image/usr/local/bin/kube-proxy"));
    assert!(recipe.trim_end().ends_with("COPY --from=build /out/portolan /usr/local/bin/portolan"));
}
