//! A drop-in kube-proxy.

use std::process::ExitCode;

use portolan_backend_nftables::NftablesFactory;
use portolan_core::Registry;

fn main() -> ExitCode {
    let mut registry = Registry::default();
    match registry.register(NftablesFactory::new()) {
        Ok(()) => portolan::run(&registry, std::env::args_os()),
        Err(error) => portolan::refuse(&error),
    }
}
