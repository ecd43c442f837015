//! What the visitor sees: text on standard output, coloured on a terminal only.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

/// How a piece of text looks.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    /// As it is.
    Plain,
    /// Headings.
    Bold,
    /// Asides.
    Dim,
    /// A flow that passes, a line that is added.
    Green,
    /// A difference, a line that is removed.
    Red,
    /// Progress.
    Cyan,
    /// What just changed.
    Changed,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Green => "32",
            Self::Red => "1;31",
            Self::Cyan => "36",
            Self::Changed => "1;30;43",
        }
    }
}

/// Standard output, with or without colours.
pub(crate) struct Screen {
    coloured: bool,
    terminal: bool,
}

impl Screen {
    /// Colours unless standard output is no terminal, or `NO_COLOR` is set to anything, or `TERM` is `dumb`.
    pub(crate) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { coloured: terminal && !refused && !dumb, terminal: terminal && !dumb }
    }

    /// `text` in a style.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        if self.coloured && !style.code().is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", style.code())
        } else {
            text.to_owned()
        }
    }

    /// One line.
    pub(crate) fn line(&self, style: Style, text: &str) -> io::Result<()> {
        self.raw(&format!("{}\n", self.paint(style, text)))
    }

    /// Text that is painted already.
    pub(crate) fn raw(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// A heading with a rule.
    pub(crate) fn heading(&self, number: usize, text: &str) -> io::Result<()> {
        let rule = "─".repeat(74_usize.saturating_sub(text.chars().count() + 6));
        let title = self.paint(Style::Bold, text);
        self.raw(&format!(
            "\n{} {title} {}\n\n",
            self.paint(Style::Cyan, &format!("── {number}")),
            self.paint(Style::Dim, &rule)
        ))
    }

    /// Says what is going on while `work` runs, then how long it took.
    pub(crate) fn step<T, E: From<io::Error>>(
        &self,
        what: &str,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let start = Instant::now();
        if self.terminal {
            self.raw(&format!("  {} {what} …", self.paint(Style::Cyan, "▸")))?;
        }
        let result = work();
        let took = format!("{:.1} s", start.elapsed().as_secs_f64());
        let mark =
            if result.is_ok() { self.paint(Style::Green, "✓") } else { self.paint(Style::Red, "✗") };
        // In a file there is no line to write over.
        let again = if self.terminal { "\r\x1b[K" } else { "" };
        self.raw(&format!("{again}  {mark} {what} {}\n", self.paint(Style::Dim, &took)))?;
        result
    }
}
