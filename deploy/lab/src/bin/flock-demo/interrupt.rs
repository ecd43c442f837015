//! Ctrl-C: the demo stops at the next safe point, and everything is cleaned up on the way out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// What shells report of a process that SIGINT ended.
pub(crate) const EXIT_CODE: u8 = 130;

/// The visitor wants to stop.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// Knows whether SIGINT, SIGTERM or SIGHUP came.
#[derive(Clone)]
pub(crate) struct Interrupt {
    seen: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over the signals. A second one changes nothing: every step is short, and cleaning up must not be cut.
    pub(crate) fn install() -> io::Result<Self> {
        let seen = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, Arc::clone(&seen))?;
        }
        Ok(Self { seen })
    }

    /// Whether a signal came.
    pub(crate) fn seen(&self) -> bool {
        self.seen.load(Ordering::SeqCst)
    }

    /// Fails once a signal came.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        if self.seen() { Err(Interrupted) } else { Ok(()) }
    }
}
