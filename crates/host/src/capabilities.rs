//! What this process may do.

use std::fs;

/// The number of `CAP_NET_ADMIN`, linux/capability.h.
const NET_ADMIN: u32 = 12;

/// Whether the process may change the network, in the user namespace that it is in.
///
/// False also when the kernel does not tell.
pub fn has_net_admin() -> bool {
    fs::read_to_string("/proc/thread-self/status")
        .ok()
        .and_then(|status| effective(&status))
        .is_some_and(|set| set & (1 << NET_ADMIN) != 0)
}

/// The effective set in the text of `/proc/<pid>/status`, one bit each.
fn effective(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_counts_and_no_other() {
        let status = "Name:\tportolan\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\n\
                      CapEff:\t0000000000001000\nCapBnd:\t000001ffffffffff\n";
        assert_eq!(effective(status), Some(1 << NET_ADMIN));
        assert_eq!(effective("CapPrm:\t1\n"), None);
        assert_eq!(effective("CapEff:\tall\n"), None);
    }
}
