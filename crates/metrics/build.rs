//! Tells the crate which compiler builds it.

#![expect(clippy::disallowed_methods, reason = "a build script may ask the compiler who it is")]
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::env;
use std::process::Command;

fn main() {
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output();
    let answer =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    // `rustc 1.89.0 (29483883e 2025-08-04)`
    let version = answer.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=PORTOLAN_RUSTC=rustc {version}");
    println!("cargo::rustc-env=PORTOLAN_ARCH={}", env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default());
    println!("cargo::rerun-if-changed=build.rs");
    for variable in ["PORTOLAN_GIT_COMMIT", "PORTOLAN_GIT_TREE_STATE", "PORTOLAN_BUILD_DATE"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
}
