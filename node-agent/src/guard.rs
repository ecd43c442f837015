//! What a script may do to this node: change the table of this project, and judge packets there. Nothing else.
//!
//! The agent does not know what a script means. But who takes over the compiler must not get the node with it: a script
//! that reads files, addresses another table, or redirects, copies or changes packets is refused before nft sees it.
//! Only what is certain passes; whatever a later compiler needs beyond it, agents have to know first.

use std::fmt;

use flock_shared::{PAST_PREFIX, Revision, TABLE};

/// What nft reads files or defines variables by: nowhere outside of quotes, not even as a part of a word, for nft
/// finds its keywords within what looks like one.
const NOWHERE: [&str; 5] = ["include", "define", "redefine", "undefine", "import"];

/// Statements of rules that do more than judge a packet. `set` is one, unless it names the object of a statement.
const BEYOND_JUDGING: [&str; 15] = [
    "dup",
    "fwd",
    "queue",
    "tproxy",
    "snat",
    "dnat",
    "masquerade",
    "redirect",
    "notrack",
    "synproxy",
    "log",
    "set",
    "helper",
    "flow",
    "offload",
];

/// Objects of a table that statements at the top name.
const OBJECTS: [&str; 5] = ["chain", "rule", "set", "map", "element"];

/// Why a script is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused before nft saw it: line {line}: {why}")]
pub struct Refused {
    /// The line, from 1.
    pub line: usize,
    /// What is not allowed there.
    pub why: Why,
}

/// What a script must not contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A character that scripts have no use for: variables, continued lines, anything but ASCII.
    Character(char),
    /// A keyword.
    Word(String),
    /// A statement that does not name our table, or something behind one.
    Statement(String),
    /// A hook at which packets of the node itself could be lost.
    Hook(String),
    /// A type of chain other than filter.
    ChainType(String),
    /// Braces or quotes that do not close, or close what is not open.
    Unbalanced,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character(found) => write!(f, "the character {found:?} is not allowed"),
            Self::Word(found) => write!(f, "{found:?} is not allowed"),
            Self::Statement(found) => write!(f, "expected a statement on the table {TABLE}, found {found:?}"),
            Self::Hook(found) => write!(f, "expected the hook forward or prerouting, found {found:?}"),
            Self::ChainType(found) => write!(f, "expected a chain of type filter, found {found:?}"),
            Self::Unbalanced => f.write_str("braces or quotes are not balanced"),
        }
    }
}

/// Checks a script.
///
/// # Errors
/// The first thing that is not allowed.
pub fn check(script: &[u8]) -> Result<(), Refused> {
    let mut depth = 0usize;
    let mut line = 0;
    for text in script.split(|byte| *byte == b'\n') {
        line += 1;
        depth = check_line(text, depth).map_err(|why| Refused { line, why })?;
    }
    if depth > 0 {
        return Err(Refused { line, why: Why::Unbalanced });
    }
    Ok(())
}

/// Checks a line that begins so many braces deep; how deep it ends.
fn check_line(text: &[u8], depth: usize) -> Result<usize, Why> {
    let lower = code_of(text)?.to_ascii_lowercase();
    if let Some(word) = NOWHERE.iter().find(|word| lower.contains(**word)) {
        return Err(Why::Word((*word).to_owned()));
    }
    let words: Vec<&str> =
        lower.split(|letter: char| !is_of_word(letter)).filter(|word| !word.is_empty()).collect();
    let in_rule = depth == 0 && top(&lower, &words)?;
    if words.iter().any(|word| says(word, "hook")) {
        let after = |keyword: &str| {
            let mut words = words.iter().skip_while(move |word| **word != keyword).skip(1);
            words.next().copied().unwrap_or_default()
        };
        match (after("type"), after("hook")) {
            ("filter", "forward" | "prerouting") => {}
            ("filter", hook) => return Err(Why::Hook(hook.to_owned())),
            (kind, _) => return Err(Why::ChainType(kind.to_owned())),
        }
        if words.iter().filter(|word| says(word, "hook")).count() > 1 {
            return Err(Why::Word("hook".to_owned()));
        }
    }
    // Where the object of a statement stands: after the verb at the top, first in the block of a table.
    let object = match depth {
        0 => Some(1),
        1 => Some(0),
        _ => None,
    };
    let beyond = |(place, word): &(usize, &&str)| {
        BEYOND_JUDGING.iter().any(|keyword| says(word, keyword))
            && !(**word == "set" && object == Some(*place))
    };
    if let Some((_, word)) = words.iter().enumerate().find(beyond) {
        return Err(Why::Word((*word).to_owned()));
    }
    braces(&lower, depth, in_rule)
}

/// Whether a word is a keyword, for nft too: behind a number or an address it needs no space.
fn says(word: &str, keyword: &str) -> bool {
    word.strip_suffix(keyword).is_some_and(|before| {
        before.starts_with(|letter: char| letter.is_ascii_digit())
            || before.chars().all(|letter| letter.is_ascii_hexdigit() || matches!(letter, '.' | '-' | '/'))
    })
}

/// A line at the top: one statement on our table. Whether it holds a rule.
fn top(line: &str, words: &[&str]) -> Result<bool, Why> {
    let line = line.trim();
    let other = || Err(Why::Statement(line.chars().take(80).collect()));
    if line.is_empty()
        || line == format!("add table {TABLE}")
        || line == format!("delete table {TABLE}")
        || line == format!("table {TABLE} {{")
    {
        return Ok(false);
    }
    // How a delta checks its base; nothing else needs an object that must not be there.
    if line.strip_prefix("create chain ").is_some_and(is_past) {
        return Ok(false);
    }
    let [verb, object, family, table, name, ..] = words else { return other() };
    let ours = format!("{verb} {object} {TABLE} {name}");
    let verb_fits = match *object {
        "rule" => *verb == "add",
        "chain" => matches!(*verb, "add" | "delete" | "flush"),
        _ => matches!(*verb, "add" | "delete"),
    };
    if !verb_fits
        || !OBJECTS.contains(object)
        || format!("{family} {table}") != TABLE
        || !line.starts_with(&ours)
    {
        return other();
    }
    Ok(*object == "rule")
}

/// Whether this is our table and the chain that says that it has gone on from a revision.
fn is_past(name: &str) -> bool {
    let revision =
        name.strip_prefix(TABLE).and_then(|rest| rest.strip_prefix(' ')?.strip_prefix(PAST_PREFIX));
    revision.is_some_and(|revision| revision.parse::<Revision>().is_ok())
}

/// How deep the line ends. At the top a line is one statement, and nothing but the rest of a rule stands behind braces.
fn braces(line: &str, mut depth: usize, in_rule: bool) -> Result<usize, Why> {
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        let rest = letters.as_str().trim();
        match letter {
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1).ok_or(Why::Unbalanced)?;
                if depth == 0 && !rest.is_empty() && !in_rule {
                    return Err(Why::Statement(rest.chars().take(80).collect()));
                }
            }
            ';' if depth == 0 => return Err(Why::Statement(rest.chars().take(80).collect())),
            _ => {}
        }
    }
    Ok(depth)
}

/// The line without its comment; what stands in quotes, which is interface names, is blanked.
fn code_of(line: &[u8]) -> Result<String, Why> {
    let mut code = String::with_capacity(line.len());
    let (mut quoted, mut comment) = (false, false);
    for byte in line {
        let letter = char::from(*byte);
        // A backslash continues lines, those of comments too.
        if !matches!(byte, b'\t' | b' '..=b'~') || letter == '\\' {
            return Err(Why::Character(letter));
        }
        match letter {
            _ if comment => {}
            '"' => {
                quoted = !quoted;
                // What follows needs no space before it.
                code.push_str(" _ ");
            }
            _ if quoted => {}
            '#' => comment = true,
            '$' | '\'' | '`' => return Err(Why::Character(letter)),
            _ => code.push(letter),
        }
    }
    if quoted { Err(Why::Unbalanced) } else { Ok(code) }
}

const fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | '/')
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
