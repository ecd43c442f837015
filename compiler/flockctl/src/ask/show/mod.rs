//! Screens: messages in, text for people out. One file a screen, pure.

pub(super) mod drops;
pub(super) mod explain;
pub(super) mod history;
pub(super) mod lint;
pub(super) mod matrix;
pub(super) mod open;
pub(super) mod policies;
pub(super) mod preview;
pub(super) mod reach;
pub(super) mod receipt;

use std::time::SystemTime;

/// What a screen hangs on beside the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    /// With all columns.
    pub(super) wide: bool,
    /// For a terminal.
    pub(super) colour: bool,
    /// Now, for what is told as an age.
    pub(super) now: SystemTime,
}
