//! Which IP families this host has.

use std::fs;
use std::path::Path;

use portolan_core::IpFamily;
use tracing::info;

/// Where the kernel tells.
pub(crate) const PROC: &str = "/proc";

/// The families to serve: IPv4, and IPv6 unless the host has none or has switched it
/// off everywhere. Says so once if it is left out.
pub(crate) fn served(proc: &Path) -> Vec<IpFamily> {
    let disabled = fs::read_to_string(proc.join("sys/net/ipv6/conf/all/disable_ipv6"));
    let missing = if !has_ipv6(proc) {
        "/proc/net/if_inet6 does not exist"
    } else if disabled.is_ok_and(|text| text.trim() == "1") {
        "net.ipv6.conf.all.disable_ipv6 is 1"
    } else {
        return IpFamily::ALL.to_vec();
    };
    info!(because = missing, "IPv6 is left out");
    vec![IpFamily::V4]
}

/// The families in which something may be left from an earlier run: IPv6 may have been
/// switched off since then, but not taken out of the kernel.
pub(crate) fn to_clean_up(proc: &Path) -> Vec<IpFamily> {
    if has_ipv6(proc) { IpFamily::ALL.to_vec() } else { vec![IpFamily::V4] }
}

fn has_ipv6(proc: &Path) -> bool {
    proc.join("net/if_inet6").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Families served and cleaned up with these files in `/proc`.
    fn counts(files: &[(&str, &str)]) -> (usize, usize) {
        let proc = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = proc.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (served(proc.path()).len(), to_clean_up(proc.path()).len())
    }

    #[test]
    fn ipv6_is_left_out_when_missing_or_switched_off() {
        const INTERFACES: (&str, &str) = ("net/if_inet6", "");
        const SWITCH: &str = "sys/net/ipv6/conf/all/disable_ipv6";
        assert_eq!(counts(&[]), (1, 1));
        assert_eq!(counts(&[(SWITCH, "0\n")]), (1, 1));
        assert_eq!(counts(&[INTERFACES]), (2, 2));
        assert_eq!(counts(&[INTERFACES, (SWITCH, "0\n")]), (2, 2));
        assert_eq!(counts(&[INTERFACES, (SWITCH, "1\n")]), (1, 2));
    }
}
