//! The IP families of the host.

use portolan_core::IpFamily;

use crate::Host;

/// Exists if the kernel has IPv6.
const INTERFACES: &str = "/proc/net/if_inet6";
/// `1` if IPv6 is disabled on all interfaces, including future ones.
const SWITCH: &str = "/proc/sys/net/ipv6/conf/all/disable_ipv6";

/// The families to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Families {
    /// IPv4, and IPv6 unless the kernel does not have it or it is disabled on all interfaces.
    pub served: Vec<IpFamily>,
    /// Why IPv6 is not served, if so.
    pub without_ipv6: Option<&'static str>,
}

impl Host {
    /// The families to serve.
    pub fn families(&self) -> Families {
        let without_ipv6 = if !self.has_ipv6() {
            Some("/proc/net/if_inet6 does not exist")
        } else if self.is_ipv6_disabled() {
            Some("net.ipv6.conf.all.disable_ipv6 is 1")
        } else {
            None
        };
        let all = IpFamily::ALL.into_iter();
        let served = all.filter(|family| *family == IpFamily::V4 || without_ipv6.is_none()).collect();
        Families { served, without_ipv6 }
    }

    /// The families that may have stale rules: IPv6 may have been disabled since an earlier run.
    pub fn families_to_clean_up(&self) -> Vec<IpFamily> {
        if self.has_ipv6() { IpFamily::ALL.to_vec() } else { vec![IpFamily::V4] }
    }

    fn has_ipv6(&self) -> bool {
        self.path(INTERFACES).exists()
    }

    fn is_ipv6_disabled(&self) -> bool {
        self.text(SWITCH).is_ok_and(|text| text.trim() == "1")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Families served and cleaned up with these files.
    fn counts(files: &[(&str, &str)]) -> (usize, usize) {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        for (name, text) in files {
            let path = host.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let Families { served, without_ipv6 } = host.families();
        assert_eq!(without_ipv6.is_some(), served == [IpFamily::V4]);
        (served.len(), host.families_to_clean_up().len())
    }

    #[test]
    fn ipv6_is_not_served_if_missing_or_disabled() {
        assert_eq!(counts(&[]), (1, 1));
        assert_eq!(counts(&[(SWITCH, "0\n")]), (1, 1));
        assert_eq!(counts(&[(INTERFACES, "")]), (2, 2));
        assert_eq!(counts(&[(INTERFACES, ""), (SWITCH, "0\n")]), (2, 2));
        assert_eq!(counts(&[(INTERFACES, ""), (SWITCH, "1\n")]), (1, 2));
    }
}
