//! Answers as other programs show them: Markdown for a pull request, SARIF for a code host, CSV for a sheet. Pure: text in, text out.
//!
//! What tenants choose is in all of it. [`plain`] takes what a terminal or a table would obey, [`markdown`] what Markdown
//! would; JSON escapes by itself.

pub(crate) mod findings;
pub(crate) mod markdown;
pub(crate) mod preview;
pub(crate) mod sarif;

/// Text on one line, without what turns the direction of writing or is not seen.
pub(crate) fn plain(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().map(|c| if is_odd(c) { '\u{fffd}' } else { c }).collect()
}
