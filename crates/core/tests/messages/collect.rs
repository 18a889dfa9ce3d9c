//! Finds messages in the tokens of a crate's sources.
//!
//! Tokens and not a syntax tree: most log macros stand inside of other macros, whose content is not parsed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Begins of texts that are an error wherever they stand.
const BEGINS_OF_ERRORS: [&str; 4] = ["cannot ", "could not ", "failed to ", "unsupported "];

/// A text that a user may read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Message {
    pub(crate) text: String,
    pub(crate) source: Source,
}

/// How a user comes to read it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// In the log, with these keys.
    Log { level: &'static str, keys: Vec<String> },
    /// In the log, about a setting.
    Note,
    /// As the reason why a setting is rejected.
    Setting,
    /// As an error or a part of one.
    Error,
}

/// The messages of a crate, without its tests.
pub(crate) fn of_crate(root: &Path) -> Vec<Message> {
    let mut found = Found::default();
    let mut files = vec![(root.to_owned(), root.parent().unwrap().to_owned())];
    while let Some((file, folder)) = files.pop() {
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let modules = found.read(&text.parse().unwrap());
        files.extend(modules.into_iter().map(|name| child(&folder, &name)));
    }
    found.into_messages()
}

/// The messages of one text.
pub(crate) fn of_text(text: &str) -> Vec<Message> {
    let mut found = Found::default();
    found.read(&text.parse().unwrap());
    found.into_messages()
}

/// The file of a module, and the folder of its own modules.
fn child(folder: &Path, module: &str) -> (PathBuf, PathBuf) {
    (folder.join(format!("{module}.rs")), folder.join(module))
}

#[derive(Default)]
struct Found {
    messages: Vec<Message>,
    /// Texts that stand under the name of a constant.
    constants: BTreeMap<String, String>,
    named: Vec<(Source, String)>,
}

impl Found {
    /// Reads tokens, and returns the modules that are in files of their own.
    fn read(&mut self, tokens: &TokenStream) -> Vec<String> {
        let tokens = without_tests(tokens);
        let mut modules = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            let rest = &tokens[at..];
            match rest {
                [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Punct(end), ..]
                    if word == "mod" && end.as_char() == ';' =>
                {
                    modules.push(name.to_string());
                }
                [TokenTree::Ident(word), TokenTree::Ident(name), ..] if word == "const" => {
                    if let Some(text) = rest.iter().take_while(|token| !is_punct(token, ';')).find_map(text) {
                        self.constants.insert(name.to_string(), text);
                    }
                }
                _ => {}
            }
            self.message(rest);
            match token {
                TokenTree::Group(group) => modules.extend(self.read(&group.stream())),
                token => self.error_by_its_begin(token),
            }
        }
        modules
    }

    /// A message that begins with the first of these tokens.
    fn message(&mut self, tokens: &[TokenTree]) {
        match tokens {
            [TokenTree::Ident(name), TokenTree::Punct(bang), TokenTree::Group(group), ..]
                if bang.as_char() == '!' =>
            {
                match name.to_string().as_str() {
                    "bail" | "anyhow" => self.add(Source::Error, first_text(group)),
                    "ensure" => {
                        let text = arguments(group).get(1).and_then(|argument| start(argument));
                        self.add(Source::Error, text);
                    }
                    name => self.log(name, group),
                }
            }
            [TokenTree::Punct(sign), TokenTree::Group(attribute), ..] if sign.as_char() == '#' => {
                let inner: Vec<_> = attribute.stream().into_iter().collect();
                if let [TokenTree::Ident(name), TokenTree::Group(group)] = &inner[..]
                    && name == "error"
                {
                    self.add(Source::Error, first_text(group));
                }
            }
            [TokenTree::Punct(dot), TokenTree::Ident(name), TokenTree::Group(group), ..]
                if dot.as_char() == '.' && (name == "context" || name == "with_context") =>
            {
                self.add(Source::Error, anywhere(group));
            }
            [
                TokenTree::Ident(receiver),
                TokenTree::Punct(_),
                TokenTree::Ident(_),
                TokenTree::Group(group),
                ..,
            ] if receiver == "faults" => {
                self.last_argument(Source::Setting, group);
            }
            [
                TokenTree::Ident(of),
                TokenTree::Punct(_),
                TokenTree::Punct(_),
                TokenTree::Ident(name),
                TokenTree::Group(group),
                ..,
            ] => match (of.to_string().as_str(), name.to_string().as_str()) {
                ("Note", _) => self.last_argument(Source::Note, group),
                ("Error" | "SourceError", "other" | "new") => self.add(Source::Error, anywhere(group)),
                _ => {}
            },
            _ => {}
        }
    }

    /// A log macro: keys, then the message.
    fn log(&mut self, name: &str, group: &Group) {
        let mut level = match name {
            "error" => "E",
            "warn" => "W",
            "info" => "I",
            "debug" => "I, `-v 4`",
            "trace" => "I, `-v 6`",
            _ => return,
        };
        let mut keys = Vec::new();
        for argument in arguments(group) {
            match &argument[..] {
                [TokenTree::Ident(name), TokenTree::Punct(colon), target @ ..]
                    if name == "target" && colon.as_char() == ':' =>
                {
                    // What is logged about each update, see `logging::verbosity` of `bin/portolan`.
                    if target.last().is_some_and(|last| last.to_string() == "DETAIL") {
                        level = "I, `-v 2`";
                    }
                }
                [literal @ TokenTree::Literal(_)] => {
                    self.add(Source::Log { level, keys }, text(literal));
                    return;
                }
                // `%key`, `?key`, `key = value` or `key`.
                tokens => {
                    let key = tokens.iter().skip_while(|token| is_punct(token, '%') || is_punct(token, '?'));
                    let key = key.take_while(|token| !is_punct(token, '='));
                    keys.push(key.map(ToString::to_string).collect());
                }
            }
        }
    }

    fn last_argument(&mut self, source: Source, group: &Group) {
        let arguments = arguments(group);
        let Some(last) = arguments.last() else { return };
        match &last[..] {
            [TokenTree::Ident(name)] => self.named.push((source, name.to_string())),
            tokens => {
                let text = tokens.iter().find_map(|token| match token {
                    TokenTree::Group(group) => anywhere(group),
                    token => text(token),
                });
                self.add(source, text);
            }
        }
    }

    /// Errors that are made as plain texts.
    fn error_by_its_begin(&mut self, token: &TokenTree) {
        if let Some(text) = text(token)
            && BEGINS_OF_ERRORS.iter().any(|begin| text.starts_with(begin))
            && !self.messages.iter().any(|known| known.text == text)
        {
            self.add(Source::Error, Some(text));
        }
    }

    fn add(&mut self, source: Source, text: Option<String>) {
        // A text without a letter only joins other texts. A word alone is a value and no reason.
        let is_message = |text: &String| {
            text.contains(char::is_alphabetic) && (source != Source::Setting || text.contains(' '))
        };
        if let Some(text) = text.filter(is_message) {
            self.messages.push(Message { text, source });
        }
    }

    fn into_messages(mut self) -> Vec<Message> {
        for (source, name) in std::mem::take(&mut self.named) {
            self.add(source, self.constants.get(&name).cloned());
        }
        self.messages.sort();
        self.messages.dedup();
        self.messages
    }
}

/// The tokens without items that are for tests alone.
fn without_tests(tokens: &TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut is_skipping = false;
    let mut tokens = tokens.clone().into_iter().peekable();
    while let Some(token) = tokens.next() {
        if is_punct(&token, '#') && tokens.peek().is_some_and(is_for_tests) {
            is_skipping = true;
        }
        // An item ends with its body or a semicolon.
        let ends = is_punct(&token, ';')
            || matches!(&token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        if !is_skipping {
            kept.push(token);
        } else if ends {
            is_skipping = false;
        }
    }
    kept
}

fn is_for_tests(attribute: &TokenTree) -> bool {
    let text = attribute.to_string().replace(' ', "");
    text == "[cfg(test)]" || text.starts_with("[cfg(all(test")
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// The value of a literal, if it is a text.
fn text(token: &TokenTree) -> Option<String> {
    let TokenTree::Literal(literal) = token else { return None };
    let text: syn::LitStr = syn::parse_str(&literal.to_string()).ok()?;
    Some(text.value())
}

/// The tokens between the commas of a group.
fn arguments(group: &Group) -> Vec<Vec<TokenTree>> {
    let tokens: Vec<_> = group.stream().into_iter().collect();
    let parts = tokens.split(|token| is_punct(token, ','));
    parts.filter(|part| !part.is_empty()).map(<[_]>::to_vec).collect()
}

fn start(tokens: &[TokenTree]) -> Option<String> {
    tokens.first().and_then(text)
}

fn first_text(group: &Group) -> Option<String> {
    arguments(group).first().and_then(|argument| start(argument))
}

/// The first text in a group, however deep.
fn anywhere(group: &Group) -> Option<String> {
    group.stream().into_iter().find_map(|token| match &token {
        TokenTree::Group(group) => anywhere(group),
        token => text(token),
    })
}
