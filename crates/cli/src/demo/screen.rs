//! Shows one view after another: in place on a terminal, line by line where it isn't one.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use super::sys;
use super::view::View;
use crate::output;

/// Rows where the terminal doesn't tell.
const ROWS: usize = 24;
/// ANSI: clear to the end of the screen, and lines that are cut instead of wrapped.
const CLEAR: &str = "\x1b[J";
const WRAP_OFF: &str = "\x1b[?7l";
const WRAP_ON: &str = "\x1b[?7h";

/// What is on the screen.
#[derive(Debug)]
pub(super) struct Screen {
    in_place: bool,
    /// The table that was shown last.
    shown: Vec<String>,
    /// The last line about each node and task.
    reported: BTreeMap<String, String>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let in_place = std::io::stdout().is_terminal();
        Self { in_place, shown: Vec::new(), reported: BTreeMap::new() }
    }

    /// Shows what has changed.
    pub(super) fn show(&mut self, view: &View) {
        if self.in_place {
            self.redraw(view);
        } else {
            self.report(view);
        }
    }

    fn redraw(&mut self, view: &View) {
        let rows = sys::terminal_rows().unwrap_or(ROWS);
        let lines = view.lines(rows.saturating_sub(1));
        if lines == self.shown {
            return;
        }
        let up = match self.shown.len() {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r"),
        };
        output::text(&format!("{up}{WRAP_OFF}{CLEAR}{}\n{WRAP_ON}", lines.join("\n")));
        self.shown = lines;
    }

    fn report(&mut self, view: &View) {
        let news: BTreeMap<String, String> = view.changing().collect();
        for (what, line) in &news {
            if self.reported.get(what) != Some(line) {
                output::line(line);
            }
        }
        self.reported = news;
    }

    /// Shows the whole table once more where only changes were shown.
    pub(super) fn finish(&self, view: &View) {
        if !self.in_place {
            output::line(&view.lines(usize::MAX).join("\n"));
        }
    }
}
