//! What we call ourselves to API servers.

use std::env::consts::{ARCH, OS};

use portolan_core::GIT_VERSION;

/// Version of our own.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// `User-Agent` of a program of this name, in the form that Kubernetes' clients have
/// and that audit logs and API priority rules of clusters look for. Characters that a
/// header cannot have are left out of the name.
pub(super) fn user_agent(name: &str) -> String {
    let name: String = name.chars().filter(|c| c.is_ascii_graphic() && !"()/".contains(*c)).collect();
    let name = if name.is_empty() { "portolan" } else { &name };
    let machine = machine(ARCH);
    format!("{name}/{GIT_VERSION} ({OS}/{machine}) portolan/{OURS}")
}

/// Go's name of an architecture, which is what everybody greps for.
fn machine(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        // The only byte order that Kubernetes is built for.
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_begins_like_a_kube_proxys() {
        let agent = user_agent("kube-proxy");
        assert!(agent.starts_with("kube-proxy/v1.36.2+portolan."), "{agent}");
        assert!(agent.contains(" (linux/") && http::HeaderValue::from_str(&agent).is_ok(), "{agent}");
    }

    #[test]
    fn a_name_that_no_header_can_have_is_cleaned() {
        for (name, expected) in [("", "portolan/"), ("a b\n(c)/d", "abcd/"), ("ü", "portolan/")] {
            assert!(user_agent(name).starts_with(expected), "{name:?}: {}", user_agent(name));
        }
    }

    #[test]
    fn architectures_have_the_names_of_go() {
        assert_eq!(["x86_64", "aarch64", "riscv64"].map(machine), ["amd64", "arm64", "riscv64"]);
    }
}
