//! Command lines and files in, configurations or one-line errors out.

mod fields;
mod files;
mod flags;
mod page;
mod random;
mod written;

use std::error::Error;
use std::io::Write;

use super::*;

/// A mode of a custom binary.
const MINE: &str = "mine";

fn parse_args(args: &[&str]) -> Result<Invocation, ConfigError> {
    let args = std::iter::once("portolan").chain(args.iter().copied()).map(OsString::from);
    parse(args, &Environment { hostname: &|| Ok("Host-1\n".into()), modes: &[ProxyMode::new(MINE)] })
}

fn config(args: &[&str]) -> Config {
    match parse_args(args) {
        Ok(Invocation::Run(config)) => *config,
        other => panic!("{args:?} gave {other:?}"),
    }
}

/// The error with its source, as it is printed.
fn error(args: &[&str]) -> String {
    let error = parse_args(args).expect_err(&format!("{args:?}"));
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}
