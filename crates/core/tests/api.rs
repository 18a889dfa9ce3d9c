//! The public API of this crate, which other backends use, equals the listing in `testdata/api.rs`.
//!
//! A change of it is made on purpose: `BLESS=1` rewrites the listing, and review reads the difference. How it
//! is made, and what it does not see, is in `docs/decisions/0018-a-listing-of-the-public-api.md`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "api/listing.rs"]
mod listing;

use std::path::Path;

#[test]
fn the_public_api_is_what_is_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = root.join("testdata/api.rs");
    let found = listing::of_crate(&root.join("src/lib.rs"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&listed, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(&listed).unwrap_or_default();
    let differs = |(found, wanted): &(&str, &str)| found != wanted;
    if let Some((found, wanted)) = found.lines().zip(wanted.lines()).find(differs) {
        panic!(
            "the public API changed (BLESS=1 rewrites the listing)\n  listed: {wanted}\n  found:  {found}"
        );
    }
    assert_eq!(found.lines().count(), wanted.lines().count(), "the public API changed at its end");
}

#[test]
fn a_listing_has_what_is_public_and_nothing_else() {
    let listed = listing::of_text(
        "/// Documented.\n#[derive(Clone)] pub struct Open { pub seen: u8, hidden: u8 }\n\
         pub struct Closed(u8); struct Private; pub(crate) struct Ours;\n\
         impl Open { pub fn shown(&self) -> u8 { self.seen } fn not(&self) {} }\n\
         impl Clone for Private { fn clone(&self) -> Self { Private } }\n\
         impl Default for Closed { fn default() -> Self { Closed(0) } }\n\
         #[cfg(test)] mod tests { pub struct Hidden; }",
    );
    let wanted = "#[derive(Clone)]\npub struct Open {\n    pub seen: u8,\n}\npub struct Closed(_);\n\
                  impl Open {\n    pub fn shown(&self) -> u8 {}\n}\nimpl Default for Closed {}\n";
    assert_eq!(listed, wanted);
}
