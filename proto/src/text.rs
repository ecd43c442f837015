//! Strings of bounded length: cutting what is sent, refusing what is received.

use flock_shared::{Revision, SUPERSEDED_LIMIT, Superseded, SupersededError};

use crate::WireError;

/// `text`, cut to at most `limit` bytes on a character's boundary.
pub(crate) fn truncated(mut text: String, limit: usize) -> String {
    text.truncate(text.floor_char_boundary(limit));
    text
}

/// `text` if it has at most `limit` bytes.
pub(crate) fn bounded(field: &'static str, text: String, limit: usize) -> Result<String, WireError> {
    if text.len() > limit {
        return Err(WireError::TooLong { field, length: text.len(), limit });
    }
    Ok(text)
}

/// `text` if it has at most `limit` bytes, none of them a control character.
pub(crate) fn printable(field: &'static str, text: String, limit: usize) -> Result<String, WireError> {
    let text = bounded(field, text, limit)?;
    // It is shown to people, whose terminals would follow escape sequences.
    if text.chars().any(char::is_control) {
        return Err(WireError::Unprintable { field });
    }
    Ok(text)
}

/// A revision that must be there.
pub(crate) fn revision(field: &'static str, text: &str) -> Result<Revision, WireError> {
    text.parse().map_err(|source| WireError::Revision { field, source })
}

/// A revision that may be absent, which the wire writes as the empty string.
pub(crate) fn optional_revision(field: &'static str, text: &str) -> Result<Option<Revision>, WireError> {
    if text.is_empty() { Ok(None) } else { revision(field, text).map(Some) }
}

/// Revisions that a table has gone on from.
pub(crate) fn superseded(field: &'static str, texts: &[String]) -> Result<Superseded, WireError> {
    let refused = |source| WireError::Superseded { field, source };
    // Counted before any is read.
    if texts.len() > SUPERSEDED_LIMIT {
        return Err(refused(SupersededError::TooMany { count: texts.len() }));
    }
    let revisions: Vec<Revision> =
        texts.iter().map(|text| revision(field, text)).collect::<Result<_, _>>()?;
    Superseded::new(revisions).map_err(refused)
}

/// The same on the wire.
pub(crate) fn of_superseded(superseded: &Superseded) -> Vec<String> {
    superseded.iter().map(Revision::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_on_a_characters_boundary() {
        assert_eq!(truncated("aä".into(), 2), "a");
        assert_eq!(truncated("aä".into(), 3), "aä");
        assert_eq!(truncated("a".into(), 9), "a");
    }
}
