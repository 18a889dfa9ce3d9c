//! Portolan with a custom mode, `--mode haproxy`, beside all others.

use std::process::ExitCode;

use portolan::Modes;
use portolan_core::ProxyMode;
use portolan_custom_backend::{HaproxyFactory, MODE, Options};

fn main() -> ExitCode {
    let modes = Modes::ours().with(ProxyMode::new(MODE), |_config| HaproxyFactory::new(Options::default()));
    portolan::run(&modes, std::env::args_os())
}
