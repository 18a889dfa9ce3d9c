//! `docs/messages.md` lists every log message and error text of the product; `BLESS=1` rewrites it.
//!
//! The same texts are checked against the mechanical rules for messages. A text that breaks one is listed in
//! `testdata/messages-exceptions.txt`. That list only shrinks: `BLESS=1` removes lines and never adds one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "messages/collect.rs"]
mod collect;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use collect::{Message, Source};

/// Wording that the project does not use: persons for code, idioms, and words that have a standard term.
const UNWANTED: [&str; 17] = [
    "all the same",
    "as good as",
    "everybody",
    "gives way",
    "go on from",
    "goes on from",
    "gone on from",
    "in force",
    "leftover",
    "lingering",
    "nobody",
    "of its own",
    "somebody",
    "sticky",
    "told",
    "turned down",
    "whoever",
];

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The packages of the product with their root files, in the order of their names.
fn packages() -> Vec<(String, PathBuf)> {
    let mut packages = Vec::new();
    for folder in ["bin", "crates"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name != "testkit" && path.join("src/lib.rs").exists() {
                packages.push((name, path.join("src/lib.rs")));
            }
        }
    }
    packages.sort();
    packages
}

fn messages() -> BTreeSet<(String, Message)> {
    let of = |(name, root): (String, PathBuf)| {
        collect::of_crate(&root).into_iter().map(move |message| (name.clone(), message))
    };
    packages().into_iter().flat_map(of).collect()
}

/// What is wrong with a message, by the rules that a program can check.
fn offences(message: &Message) -> Vec<String> {
    let mut found = Vec::new();
    let lower = message.text.to_lowercase();
    let unwanted = UNWANTED.iter().filter(|wording| contains_words(&lower, wording));
    found.extend(unwanted.map(|wording| format!("says {wording:?}")));
    if let Source::Log { keys, .. } = &message.source {
        if !message.text.starts_with(|first: char| first.is_ascii_uppercase()) {
            found.push("does not begin with a capital letter".to_owned());
        }
        found.extend(keys.iter().filter(|key| !is_camel_case(key)).map(|key| format!("key {key:?}")));
    }
    if message.text.ends_with('.') {
        found.push("ends with a full stop".to_owned());
    }
    found
}

fn contains_words(text: &str, words: &str) -> bool {
    let ends = |part: &str, last: bool| {
        let next = if last { part.chars().next_back() } else { part.chars().next() };
        next.is_none_or(|next| !next.is_alphanumeric())
    };
    let mut places = text.match_indices(words);
    places.any(|(at, _)| ends(&text[..at], true) && ends(&text[at + words.len()..], false))
}

/// Whether a key is written as klog's are.
fn is_camel_case(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_lowercase())
        && key.chars().all(|letter| letter.is_ascii_alphanumeric())
        && key != "error"
}

fn escaped(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;")
}

fn page(messages: &BTreeSet<(String, Message)>) -> String {
    let mut page = String::from(
        "# Messages\n\n\
         Search this page for a text that you see in a log. It lists every log message and error text with the crate that\n\
         writes it.\n\n\
         * `{…}` stands for a value.\n\
         * E, W and I are error, warning and info; `-v N` is the verbosity from which a message is shown.\n\
         * A log line has the error text in the key `err`.\n\n\
         `BLESS=1 cargo test -p portolan-core --test messages` writes this page.\n",
    );
    page += "\n## Log messages\n\n| crate | level | message | keys |\n|---|---|---|---|\n";
    for (package, message) in messages {
        if let Source::Log { level, keys } = &message.source {
            let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
            writeln!(page, "| {package} | {level} | {} | {} |", escaped(&message.text), keys.join(" "))
                .unwrap();
        }
    }
    for (heading, wanted) in [
        ("Notes on settings", Source::Note),
        ("Errors in settings", Source::Setting),
        ("Error texts", Source::Error),
    ] {
        write!(page, "\n## {heading}\n\n| crate | text |\n|---|---|\n").unwrap();
        for (package, message) in messages.iter().filter(|(_, message)| message.source == wanted) {
            writeln!(page, "| {package} | {} |", escaped(&message.text)).unwrap();
        }
    }
    page
}

/// The first lines in which two texts differ.
fn difference(listed: &str, found: &str) -> String {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (listed.lines().collect(), found.lines().collect());
    let gone = old.difference(&new).map(|line| format!("- {line}"));
    let come = new.difference(&old).map(|line| format!("+ {line}"));
    gone.chain(come).take(20).collect::<Vec<_>>().join("\n")
}

fn is_blessed() -> bool {
    std::env::var_os("BLESS").is_some()
}

#[test]
fn the_page_lists_every_message() {
    let file = root().join("docs/messages.md");
    let found = page(&messages());
    if is_blessed() {
        fs::write(&file, &found).unwrap();
    }
    let listed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        listed == found,
        "docs/messages.md is stale; BLESS=1 rewrites it:\n{}",
        difference(&listed, &found)
    );
}

#[test]
fn messages_keep_to_the_rules_except_those_listed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/messages-exceptions.txt");
    let listed = fs::read_to_string(&file).unwrap_or_default();
    let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let offences = |(_, message): &(String, Message)| {
        let text = message.text.replace('\n', " ");
        offences(message).into_iter().map(move |offence| format!("{offence}: {text}")).collect::<Vec<_>>()
    };
    let found: BTreeSet<String> = messages().iter().flat_map(offences).collect();
    if is_blessed() {
        let kept: Vec<_> = listed.intersection(&found).flat_map(|line| [line.as_str(), "\n"]).collect();
        fs::write(&file, kept.concat()).unwrap();
    }
    let new: Vec<_> = found.difference(&listed).collect();
    assert!(new.is_empty(), "these messages break the rules of CONTRIBUTING.md:\n{new:#?}");
    let over: Vec<_> = listed.difference(&found).filter(|_| !is_blessed()).collect();
    assert!(over.is_empty(), "these exceptions are not needed any more; BLESS=1 removes them:\n{over:#?}");
}

#[test]
fn messages_are_found_in_macros_attributes_and_calls() {
    let found = collect::of_text(
        r#"
        #[derive(thiserror::Error)] enum E { #[error("cannot read {0}", x = 1)] A, #[error(transparent)] B }
        #[cfg(test)] mod tests { fn f() { warn!("not this one"); } }
        #[cfg(test)] mod elsewhere;
        const WANTED: &str = "must be a port";
        fn f() {
            tokio::select! { _ = a => tracing::warn!(target: "x", %service, retry_in = ?b, "Failed to \
                sync {c}", c = 1), }
            faults.text(path, value, WANTED);
            notes.push(Note::info(field, format!("the gate {g} is ignored")));
            bail!("nothing to serve");
            call().with_context(|| format!("cannot write {}", file.display()))?;
        }
        "#,
    );
    let found: Vec<_> =
        found.iter().map(|message| format!("{:?} {}", message.source, message.text)).collect();
    let wanted = [
        "Log { level: \"W\", keys: [\"service\", \"retry_in\"] } Failed to sync {c}",
        "Error cannot read {0}",
        "Error cannot write {}",
        "Setting must be a port",
        "Error nothing to serve",
        "Note the gate {g} is ignored",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn each_rule_finds_a_message_that_breaks_it() {
    let log = |text: &str, keys: &[&str]| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        offences(&Message { source: Source::Log { level: "I", keys }, text: text.to_owned() })
    };
    assert_eq!(log("Synced", &["ipFamily", "err"]), Vec::<String>::new());
    assert_eq!(log("synced", &[]).len(), 1);
    assert_eq!(log("Synced.", &[]).len(), 1);
    assert_eq!(log("Nobody listens", &[]), ["says \"nobody\""]);
    assert_eq!(log("Retold", &["retry_in", "error"]), ["key \"retry_in\"", "key \"error\""]);
    let error = Message { source: Source::Error, text: "rules are in force".to_owned() };
    assert_eq!(offences(&error), ["says \"in force\""]);
}
