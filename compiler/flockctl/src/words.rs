//! An error in words.

use std::error::Error;
use std::fmt::Write as _;

/// The words of an error and of its causes, each once: some repeat their causes, others do not.
pub(crate) fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            // Writing into a string cannot fail.
            let _ = write!(words, ": {text}");
        }
        cause = error.source();
    }
    words
}
