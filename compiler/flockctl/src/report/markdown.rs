//! Markdown as code hosts render it (GitHub's, GitLab's): tables whose cells say what was said, and do nothing.

use super::plain;

/// Text that stands for itself.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Else it is a person, a team, an issue, or a link; a backslash is gone when hosts look for those.
            '@' | '#' | ':' => {
                out.push(c);
                out.push('\u{2060}');
            }
            '-' | '.' | ',' | ';' | '/' | '=' | '"' | '\'' | '(' | ')' | '+' | '?' | '%' | '$' => out.push(c),
            c if c.is_ascii_punctuation() => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// Text as code; nothing for nothing.
pub(crate) fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    // Tables end a cell at a pipe in code, too, and a backquote would end the code.
    let text: String = plain(text).chars().map(|c| if c == '`' { '\'' } else { c }).collect();
    format!("`{}`", text.replace('|', "\\|"))
}

/// A table; cells are Markdown already.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let line =
        |cells: &mut dyn Iterator<Item = &str>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    let mut out = line(&mut heading.iter().copied());
    out.push_str(&line(&mut heading.iter().map(|_| "---")));
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stands_for_itself() {
        for (text, expected) in [
            ("shop/api app=api", "shop/api app=api"),
            ("a|b", "a\\|b"),
            ("<img src=x>", "&lt;img src=x&gt;"),
            ("[a](b)", "\\[a\\](b)"),
            ("*a* _b_ `c`", "\\*a\\* \\_b\\_ \\`c\\`"),
            ("@team", "@\u{2060}team"),
            ("a\nb\u{202e}c", "a\u{fffd}b\u{fffd}c"),
            ("&lt;", "&amp;lt;"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn code_ends_where_it_should() {
        assert_eq!(code(""), "");
        assert_eq!(code("a`b"), "`a'b`");
        assert_eq!(code("a|b\n"), "`a\\|b\u{fffd}`");
    }
}
