//! Tests that show nothing where they run, and say so.

use std::io::{self, Write as _};
use std::thread;

/// Says on standard error that the test of this thread shows nothing here, and why: "needs root". It is written past
/// libtest's capture, which takes what `println!` and `eprintln!` print and hides it where tests pass.
pub fn skipped(reason: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    // If nobody listens, nobody is misled.
    let _ = writeln!(io::stderr(), "skipped: {reason} ({test})");
}
