//! Input for `iptables-restore`, line by line into whatever takes bytes.
//!
//! With `--noflush` a table keeps what the input does not name. A chain that is declared is made, or emptied
//! if it is there; so declaring a chain and appending its rules replaces it, and the whole of a table's
//! section becomes true at once, at its `COMMIT`.
//!
//! A rule may lead only to a chain that was declared above it or is there already. So a section declares
//! first: render once into [`Input::declared`] and once more into [`Input::appended`].
//!
//! Lines are counted as the program counts them, from one, so that a line which it turns down can be told
//! from [`Input::lines`] as they were when it was written.

use std::fmt;
use std::io::{self, Write};

use crate::names::{Chain, Table};
use crate::render::Sink;
use crate::rule::Rule;

/// What is being written.
///
/// The first error is kept for [`finish`](Self::finish), and nothing is written after it.
#[derive(Debug)]
pub struct Input<W> {
    writer: W,
    /// What is being put together: a line has many pieces, and those come together faster here.
    line: String,
    table: Option<Table>,
    written: Written,
    failure: Option<io::Error>,
}

/// How much was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Lines, those that begin and commit tables included.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
    /// Rules that were appended or inserted.
    pub rules: u64,
}

impl<W: Write> Input<W> {
    /// Nothing yet. `writer` gets a line at a time, so it should be buffered.
    pub fn new(writer: W) -> Self {
        Self { writer, line: String::new(), table: None, written: Written::default(), failure: None }
    }

    /// Begins the section of a table; the one before must have been committed.
    pub fn table(&mut self, table: Table) {
        debug_assert_eq!(self.table, None, "a section was not committed");
        self.table = Some(table);
        self.line(format_args!("*{table}"));
    }

    /// Ends a section: all of it becomes true.
    pub fn commit(&mut self) {
        self.table = None;
        self.line(format_args!("COMMIT"));
    }

    /// Makes a chain, or empties it.
    pub fn declare(&mut self, chain: Chain) {
        self.line(format_args!(":{chain} - [0:0]"));
    }

    /// Puts a rule at the end of a chain.
    pub fn append(&mut self, chain: Chain, rule: &Rule<'_>) {
        self.written.rules += 1;
        self.line(format_args!("-A {chain}{rule}"));
    }

    /// Puts a rule at the top of a chain, by itself or by the words after the chain's name.
    pub fn insert(&mut self, chain: Chain, rule: impl fmt::Display) {
        self.written.rules += 1;
        self.line(format_args!("-I {chain}{rule}"));
    }

    /// Takes the first rule out of a chain that is like this; there must be one.
    pub fn delete(&mut self, chain: Chain, rule: &Rule<'_>) {
        self.line(format_args!("-D {chain}{rule}"));
    }

    /// Takes out a rule by the words after the chain's name, as `iptables-save` printed them.
    pub fn delete_printed(&mut self, chain: Chain, words: &str) {
        self.line(format_args!("-D {chain} {words}"));
    }

    /// Empties a chain, which must be there.
    pub fn flush(&mut self, chain: Chain) {
        self.line(format_args!("-F {chain}"));
    }

    /// Removes a chain, which must be empty, and nothing may lead to it.
    pub fn remove(&mut self, chain: Chain) {
        self.line(format_args!("-X {chain}"));
    }

    /// Declares the chains that it is told of, those of the table that was begun.
    pub fn declared(&mut self) -> Declared<'_, W> {
        Declared(self)
    }

    /// Appends the rules that it is told of, those of the table that was begun.
    pub fn appended(&mut self) -> Appended<'_, W> {
        Appended(self)
    }

    /// Lines so far, which is the number of the last one.
    pub fn lines(&self) -> u64 {
        self.written.lines
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.written.bytes
    }

    /// Hands everything on.
    ///
    /// # Errors
    /// The first that the writer met, then or earlier.
    pub fn finish(mut self) -> io::Result<Written> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        self.writer.flush()?;
        Ok(self.written)
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        if self.failure.is_some() {
            return;
        }
        self.line.clear();
        // Writing to a text cannot fail.
        let _ = fmt::Write::write_fmt(&mut self.line, line);
        self.line.push('\n');
        self.written.lines += 1;
        self.written.bytes += self.line.len() as u64;
        self.failure = self.writer.write_all(self.line.as_bytes()).err();
    }
}

/// Sees chains and no rules: see [`Input::declared`].
#[derive(Debug)]
pub struct Declared<'i, W>(&'i mut Input<W>);

impl<W: Write> Sink for Declared<'_, W> {
    fn chain(&mut self, table: Table, chain: Chain) {
        if self.0.table == Some(table) {
            self.0.declare(chain);
        }
    }

    fn rule(&mut self, _: Table, _: Chain, _: &Rule<'_>) {}
}

/// Sees rules: see [`Input::appended`].
#[derive(Debug)]
pub struct Appended<'i, W>(&'i mut Input<W>);

impl<W: Write> Sink for Appended<'_, W> {
    fn chain(&mut self, _: Table, _: Chain) {}

    fn rule(&mut self, table: Table, chain: Chain, rule: &Rule<'_>) {
        if self.0.table == Some(table) {
            self.0.append(chain, rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comment::Comment;
    use crate::names::Fixed;
    use crate::rule::{Body, Target};

    const LIST: Chain = Chain::Fixed(Fixed::Services);

    fn drop() -> Rule<'static> {
        let body = Body { target: Some(Target::Drop), ..Body::default() };
        Rule { comment: Comment::Text("ns/web has no local endpoints"), body }
    }

    #[test]
    fn every_command_is_a_line_and_counted() {
        let mut text = Vec::new();
        let mut input = Input::new(&mut text);
        input.table(Table::Filter);
        input.declare(LIST);
        input.append(LIST, &drop());
        assert_eq!(input.lines(), 3, "the number of the line that was written last");
        input.insert(LIST, drop());
        input.delete(LIST, &drop());
        input.flush(LIST);
        input.remove(LIST);
        input.commit();
        let written = input.finish().unwrap();
        let expected = r#"*filter
:KUBE-SERVICES - [0:0]
-A KUBE-SERVICES -m comment --comment "ns/web has no local endpoints" -j DROP
-I KUBE-SERVICES -m comment --comment "ns/web has no local endpoints" -j DROP
-D KUBE-SERVICES -m comment --comment "ns/web has no local endpoints" -j DROP
-F KUBE-SERVICES
-X KUBE-SERVICES
COMMIT
"#;
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        assert_eq!(written, Written { lines: 8, bytes: expected.len() as u64, rules: 2 });
    }

    #[test]
    fn sinks_see_the_table_that_was_begun_and_no_other() {
        let mut text = Vec::new();
        let mut input = Input::new(&mut text);
        input.table(Table::Nat);
        for table in Table::ALL {
            input.declared().chain(table, LIST);
            input.declared().rule(table, LIST, &drop());
            input.appended().chain(table, LIST);
            input.appended().rule(table, LIST, &Rule::default());
        }
        input.commit();
        input.finish().unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "*nat\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES\nCOMMIT\n"
        );
    }

    /// Takes so many bytes and no more.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_first_failure_is_what_the_end_tells_and_nothing_is_written_after_it() {
        let mut input = Input::new(Full("*nat\nCOMMIT\n".len()));
        input.table(Table::Nat);
        input.declare(LIST);
        input.commit();
        assert_eq!(input.bytes(), "*nat\n:KUBE-SERVICES - [0:0]\n".len() as u64);
        assert_eq!(input.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
