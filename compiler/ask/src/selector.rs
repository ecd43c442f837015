//! Label selectors as kubectl takes them: `app=web,tier!=db,env in (a,b),!legacy`.

use std::sync::Arc;

use flock_compiler_core::sorted::Sorted;
use flock_compiler_core::{Operator, Requirement, Selector};

use crate::AskError;

/// Longer ones are not read.
const LIMIT: usize = 4096;

/// Reads a selector.
///
/// # Errors
/// [`AskError::Bad`] with what is wrong.
pub(crate) fn parse(text: &str) -> Result<Selector, AskError> {
    // Before anything is read: the text is the asker's, and its requirements are asked of every pod.
    if text.len() > LIMIT {
        return Err(bad(format!("a selector of {} bytes; at most {LIMIT}", text.len())));
    }
    let requirements: Result<Vec<Requirement>, AskError> =
        parts(text)?.into_iter().map(requirement).collect();
    Ok(requirements?.into_iter().collect())
}

fn bad(message: impl Into<String>) -> AskError {
    AskError::Bad(message.into())
}

/// What stands between commas that are in no brackets.
fn parts(text: &str) -> Result<Vec<&str>, AskError> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0u32, 0);
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth == 0 => return Err(bad(format!("selector {text:?}: `)` without `(`"))),
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text.get(start..index).unwrap_or_default());
                start = index + 1;
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err(bad(format!("selector {text:?}: `(` without `)`")));
    }
    parts.push(text.get(start..).unwrap_or_default());
    // An empty part asks for nothing, so that the empty selector is everything.
    Ok(parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect())
}

fn requirement(part: &str) -> Result<Requirement, AskError> {
    let one = |value: &str| Ok::<_, AskError>(Sorted::from_iter([Arc::from(word(value)?)]));
    // `!=` and `==` before `=`, which is in both of them.
    let (key, operator) = if let Some((key, value)) = part.split_once("!=") {
        (key, Operator::NotIn(one(value)?))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Operator::In(one(value)?))
    } else if let Some(key) = part.strip_prefix('!') {
        (key, Operator::DoesNotExist)
    } else if let Some((head, list)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values: Result<Sorted<Arc<str>>, AskError> =
            list.split(',').map(|value| word(value).map(Arc::from)).collect();
        match head.split_whitespace().collect::<Vec<_>>()[..] {
            [key, "in"] => (key, Operator::In(values?)),
            [key, "notin"] => (key, Operator::NotIn(values?)),
            _ => {
                return Err(bad(format!("{part:?} in a selector: expected `KEY in (…)` or `KEY notin (…)`")));
            }
        }
    } else {
        (part, Operator::Exists)
    };
    let key = word(key)?;
    if key.is_empty() {
        return Err(bad(format!("{part:?} in a selector has no key")));
    }
    Ok(Requirement { key: key.into(), operator })
}

/// A key or a value, without the blanks around it.
fn word(text: &str) -> Result<&str, AskError> {
    let text = text.trim();
    // Nothing else: the selector is repeated in answers, which terminals show.
    let is_usual = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    match text.chars().all(is_usual) {
        true => Ok(text),
        false => Err(bad(format!("{text:?} in a selector is no key and no value of a label"))),
    }
}

#[cfg(test)]
mod tests {
    use flock_compiler_core::Labels;

    use super::*;

    #[test]
    fn selectors_are_read_as_kubectl_reads_them() {
        let labels: Labels = [("app", "web"), ("tier", "front")].into_iter().collect();
        for (text, expected) in [
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (api, web)", true),
            ("app notin (api,web)", false),
            ("tier", true),
            ("!tier", false),
            ("!legacy , app", true),
            ("", true),
        ] {
            assert_eq!(parse(text).unwrap().matches(&labels), expected, "{text}");
        }
        for wrong in ["a=(b", "a in b)", "=x", "a b", "a on (b)", "a=\u{1b}[0m"] {
            assert!(matches!(parse(wrong), Err(AskError::Bad(_))), "{wrong}");
        }
    }
}
