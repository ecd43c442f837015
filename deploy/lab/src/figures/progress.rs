//! A line on the terminal that says how far a bench has come; nothing where nobody looks.

use std::fmt;
use std::io::{IsTerminal as _, Write as _, stderr};

/// The line. Dropping it removes it.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
}

impl Progress {
    /// Nothing is shown yet.
    #[must_use]
    pub fn new() -> Self {
        Self { shown: stderr().is_terminal() }
    }

    /// Shows what is being done now.
    pub fn say(&mut self, what: impl fmt::Display) {
        if self.shown {
            let mut err = stderr().lock();
            // A progress line that cannot be written is not missed.
            let _ = write!(err, "\r\x1b[2K{what} …");
            let _ = err.flush();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(stderr().lock(), "\r\x1b[2K");
        }
    }
}
