//! The systemd unit, judged by systemd.

use std::fs;
use std::path::PathBuf;

use portolan_testkit::netns::{Portolan, Program};
use tempfile::TempDir;

use crate::files::text;

/// How exposed systemd may find the service, from 0 to 100. What is left is the capability itself, the node's own
/// network and /proc/sys; without any sandboxing it would be 96.
const EXPOSURE: u32 = 20;

/// The unit as it would be installed, and the folder that it is in. systemd looks whether its program is there, so
/// the unit gets ours.
fn installed(unit: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portolan.service");
    let binary = Portolan::binary().unwrap();
    fs::write(&file, unit.replace("/usr/local/bin/portolan", binary.to_str().unwrap())).unwrap();
    (folder, file)
}

/// What `systemd-analyze verify` has to say; it ends well even when it complains.
fn complaints(unit: &str) -> String {
    let (_folder, file) = installed(unit);
    let verify = Program::new("sh").args(["-c", "systemd-analyze verify --man=no \"$0\" 2>&1"]).args([file]);
    verify.run().unwrap_or_else(|error| error.to_string())
}

fn exposure_is_at_most(limit: u32, unit: &str) -> Result<String, String> {
    let (_folder, file) = installed(unit);
    let flags = ["security", "--offline=true", "--no-pager", &format!("--threshold={limit}")];
    let judge = Program::new("systemd-analyze").args(flags).args([file]);
    judge.run().map_err(|error| error.to_string())
}

#[test]
fn systemd_understands_every_line_of_the_unit() {
    let unit = text("deploy/systemd/portolan.service");

    assert_eq!(complaints(&unit), "");
    let misspelt = complaints(&unit.replace("Type=notify", "Type=notifying"));
    assert!(misspelt.contains("notifying"), "{misspelt}");
}

#[test]
fn systemd_finds_the_service_well_confined() {
    let unit = text("deploy/systemd/portolan.service");

    exposure_is_at_most(EXPOSURE, &unit).unwrap();
    assert!(exposure_is_at_most(EXPOSURE, &unit.replace("CapabilityBoundingSet=", "#")).is_err());
}

#[test]
fn free_memory_is_given_back_by_the_service_and_by_the_image_alike() {
    let unit = text("deploy/systemd/portolan.service");
    let recipe = text("deploy/Containerfile");
    let threshold = unit.lines().find_map(|line| line.strip_prefix("Environment="));

    assert_eq!(threshold, Some("MALLOC_TRIM_THRESHOLD_=131072"));
    assert_eq!(recipe.lines().find_map(|line| line.strip_prefix("ENV ")), threshold);
}

#[test]
fn nothing_runs_when_the_service_stops() {
    let unit = text("deploy/systemd/portolan.service");

    let stops = unit.lines().any(|line| line.starts_with("ExecStop"));

    assert!(!stops, "something runs when the service stops");
}

#[test]
fn the_service_has_the_capability_and_no_other() {
    let unit = text("deploy/systemd/portolan.service");
    for line in
        ["AmbientCapabilities=CAP_NET_ADMIN", "CapabilityBoundingSet=CAP_NET_ADMIN", "DynamicUser=yes"]
    {
        assert!(unit.lines().any(|other| other == line), "{line}");
    }
}

/// The drop-in comes after the unit, as systemd reads them.
#[test]
fn the_drop_in_for_userspace_mode_adds_one_capability_and_little_exposure() {
    let drop_in = text("deploy/systemd/userspace.conf");
    let unit = format!("{}\n{drop_in}", text("deploy/systemd/portolan.service"));

    assert_eq!(complaints(&unit), "");
    exposure_is_at_most(EXPOSURE + 5, &unit).unwrap();
    let settings: Vec<_> =
        drop_in.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])).collect();
    assert_eq!(
        settings,
        ["AmbientCapabilities=CAP_NET_BIND_SERVICE", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"]
    );
}

#[test]
fn the_service_may_open_as_many_files_as_relaying_takes() {
    let unit = text("deploy/systemd/portolan.service");
    let limit = unit.lines().find_map(|line| line.strip_prefix("LimitNOFILE=")).unwrap();

    assert_eq!(limit.parse::<u32>().unwrap(), 1 << 20);
}
