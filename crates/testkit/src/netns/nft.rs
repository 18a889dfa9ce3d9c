//! Looks at a namespace's rules with the installed `nft`, as the people on a node do.

use super::{Namespace, NetnsError, Program};

/// All rules of a namespace as `nft list ruleset` prints them.
///
/// # Errors
/// When `nft` fails. Some versions abort on legal rules; that is an error here, too.
pub fn list_ruleset(namespace: &Namespace) -> Result<String, NetnsError> {
    namespace.run_program(&Program::new("nft").args(["list", "ruleset"]))
}

/// Loads rules in nft's notation into a namespace.
///
/// # Errors
/// With nft's message when it turns them down.
pub fn load_ruleset(namespace: &Namespace, rules: &str) -> Result<(), NetnsError> {
    namespace.run_program(&Program::new("nft").args(["-f", "-"]).input(rules)).map(drop)
}

/// Asserts that `nft` can list a namespace's rules and load what it listed into an empty namespace.
///
/// Rules that pass show in other people's tools as what they are. Returns the listing for further looks.
///
/// # Panics
/// When either step fails, with nft's message and the listing.
pub fn assert_ruleset_reloads(namespace: &Namespace) -> String {
    let listing = list_ruleset(namespace)
        .unwrap_or_else(|error| panic!("the rules of {} cannot be listed: {error}", namespace.name()));
    if let Err(error) = reload(namespace.name(), &listing) {
        panic!("the listed rules of {} do not load: {error}\n{listing}", namespace.name());
    }
    listing
}

fn reload(origin: &str, listing: &str) -> Result<(), NetnsError> {
    let name = format!("{origin}-reloaded");
    let empty = Namespace::create(&name)?;
    let loaded = load_ruleset(&empty, listing);
    // Also after a failure: the test may go on to list another time.
    let deleted = Program::new("ip").args(["netns", "delete", &name]).run();
    loaded.and(deleted.map(drop))
}
