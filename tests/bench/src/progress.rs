//! Where a run is: a bar for who watches, lines for a log.
//!
//! On a terminal one line is drawn over and over. Elsewhere each scenario gets a line when it begins and one
//! each quarter of its way, so that a log of a long run shows that it moves and stays readable.

use std::io::{IsTerminal as _, Write};

/// Characters of the bar between its brackets.
const WIDTH: usize = 24;

/// Shows how far the suite is. Dropped, it leaves the terminal's line empty.
pub(crate) struct Progress {
    out: Box<dyn Write + Send>,
    style: Style,
    scenarios: usize,
    begun: usize,
    name: String,
    /// Of a scenario's steps, how many parts of `Style::parts` have been shown.
    shown: usize,
}

/// How to show it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Bar,
    Lines,
}

impl Style {
    /// In how many parts a scenario is shown.
    fn parts(self) -> usize {
        match self {
            Self::Bar => 200,
            Self::Lines => 4,
        }
    }
}

impl Progress {
    /// On standard error, for a run of so many scenarios.
    pub(crate) fn new(scenarios: usize) -> Self {
        let style = if std::io::stderr().is_terminal() { Style::Bar } else { Style::Lines };
        Self::on(Box::new(std::io::stderr()), style, scenarios)
    }

    fn on(out: Box<dyn Write + Send>, style: Style, scenarios: usize) -> Self {
        Self { out, style, scenarios, begun: 0, name: String::new(), shown: 0 }
    }

    /// The next scenario begins.
    pub(crate) fn scenario(&mut self, name: &str) {
        self.begun += 1;
        name.clone_into(&mut self.name);
        self.shown = 0;
        match self.style {
            Style::Bar => self.draw(0, 1),
            Style::Lines => self.say(&format!("{} {}\n", self.place(), self.name)),
        }
    }

    /// Of the present scenario's `of` steps so many are done.
    pub(crate) fn step(&mut self, done: usize, of: usize) {
        let (done, of) = (done.min(of), of.max(1));
        let part = done * self.style.parts() / of;
        if part <= self.shown {
            return;
        }
        self.shown = part;
        match self.style {
            Style::Bar => self.draw(done, of),
            Style::Lines => self.say(&format!("{} {}: {done} of {of}\n", self.place(), self.name)),
        }
    }

    fn place(&self) -> String {
        format!("[{}/{}]", self.begun, self.scenarios)
    }

    /// The bar, over the one that is there: carriage return, then ECMA-48's "erase to the end of the line".
    fn draw(&mut self, done: usize, of: usize) {
        let full = done * WIDTH / of;
        let bar = "█".repeat(full) + &"░".repeat(WIDTH - full);
        self.say(&format!("\r\x1b[K{} {bar} {:3} %  {}", self.place(), done * 100 / of, self.name));
    }

    /// A run does not fail because its progress cannot be shown.
    fn say(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.style == Style::Bar && self.begun > 0 {
            self.say("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Hands on what is written.
    struct Pipe(Sender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What a run of two scenarios, the second with a thousand steps, writes piece by piece.
    fn written(style: Style) -> Vec<String> {
        let (sender, receiver) = channel();
        let mut progress = Progress::on(Box::new(Pipe(sender)), style, 2);
        progress.scenario("cold-10k");
        progress.scenario("step");
        for done in 1..=1_000 {
            progress.step(done, 1_000);
        }
        drop(progress);
        receiver.iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    #[test]
    fn a_log_gets_a_line_for_each_scenario_and_each_quarter() {
        let lines = written(Style::Lines).concat();
        let quarters = "[2/2] step: 250 of 1000\n[2/2] step: 500 of 1000\n[2/2] step: 750 of 1000\n";
        assert_eq!(lines, format!("[1/2] cold-10k\n[2/2] step\n{quarters}[2/2] step: 1000 of 1000\n"));
    }

    #[test]
    fn a_bar_is_drawn_over_itself_and_gone_at_the_end() {
        let pieces = written(Style::Bar);
        assert!(pieces.iter().all(|piece| piece.starts_with("\r\x1b[K")), "{pieces:?}");
        assert_eq!(pieces.len(), 2 + Style::Bar.parts() + 1);
        assert!(pieces[pieces.len() - 2].contains(&"█".repeat(WIDTH)), "{pieces:?}");
        assert_eq!(pieces.last().map(String::as_str), Some("\r\x1b[K"));
    }

    #[test]
    fn more_steps_than_there_are_and_steps_of_none_are_taken_as_the_end() {
        let (sender, receiver) = channel();
        let mut progress = Progress::on(Box::new(Pipe(sender)), Style::Bar, 1);
        progress.scenario("step");
        progress.step(7, 5);
        progress.step(0, 0);
        drop(progress);
        assert!(receiver.iter().nth(1).is_some_and(|piece| piece.ends_with(b"100 %  step")));
    }
}
