//! A drop-in kube-proxy.

use std::process::ExitCode;

use portolan::Modes;

fn main() -> ExitCode {
    portolan::run(&Modes::ours(), std::env::args_os())
}
