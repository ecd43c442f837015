//! Keys and values of labels as the API server takes them, source: apimachinery's `IsQualifiedName`,
//! `IsDNS1123Subdomain` and `IsValidLabelValue`.

use std::sync::Arc;

use super::field::quoted;

/// The longest prefix of a key.
const PREFIX_LIMIT: usize = 253;
/// The longest name in a key, and the longest value.
const NAME_LIMIT: usize = 63;

/// Why no object can have such a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LabelError {
    #[error("is empty; expected a label's key")]
    EmptyKey,
    #[error("the key's prefix, {}, is not a DNS-1123 subdomain of 1 to {PREFIX_LIMIT} characters", quoted(.0))]
    Prefix(String),
    #[error(
        "the key's name, {}, is not 1 to {NAME_LIMIT} letters, digits, '-', '_' and '.' with a letter or digit at both ends",
        quoted(.0)
    )]
    Name(String),
    #[error(
        "{} is not a label's value: it may be empty, or 1 to {NAME_LIMIT} letters, digits, '-', '_' and '.' with a letter or digit at both ends",
        quoted(.0)
    )]
    Value(String),
}

/// A key: `name`, or `prefix/name`.
pub(super) fn key(text: &str) -> Result<Arc<str>, LabelError> {
    if text.is_empty() {
        return Err(LabelError::EmptyKey);
    }
    // At the first slash: another one is then in the name, which may have none.
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if let Some(prefix) = prefix.filter(|prefix| !is_subdomain(prefix)) {
        return Err(LabelError::Prefix(prefix.to_owned()));
    }
    if is_name(name) { Ok(text.into()) } else { Err(LabelError::Name(name.to_owned())) }
}

/// A value; may be empty.
pub(super) fn value(text: &str) -> Result<Arc<str>, LabelError> {
    if text.is_empty() || is_name(text) { Ok(text.into()) } else { Err(LabelError::Value(text.to_owned())) }
}

fn is_name(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= NAME_LIMIT
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_subdomain(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
    };
    // As in `IsDNS1123Subdomain`, the whole is bounded and its parts are not, other than in a host's name.
    text.len() <= PREFIX_LIMIT && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let (name, prefix) = ("n".repeat(63), "p".repeat(253));
        let longest = format!("{prefix}/{name}");
        for good in ["a", "A", "0", "a.b_c-D", "a..b", "kubernetes.io/metadata.name", "0-1.b/C", &longest] {
            assert_eq!(key(good).as_deref(), Ok(good));
        }
        assert_eq!(key(""), Err(LabelError::EmptyKey));
        let long = "n".repeat(64);
        for bad in ["a b", "-a", "a-", "_a", "a.", ".", "ä", "a\n", &long] {
            assert_eq!(key(bad), Err(LabelError::Name(bad.to_owned())));
            assert_eq!(key(&format!("x.io/{bad}")), Err(LabelError::Name(bad.to_owned())));
        }
        assert_eq!(key("x.io/"), Err(LabelError::Name(String::new())));
        assert_eq!(key("a/b/c"), Err(LabelError::Name("b/c".to_owned())));
        let long = "p".repeat(254);
        for bad in ["", "X.io", "x..io", ".x", "x.", "-x", "x-.io", "x_y", &long] {
            assert_eq!(key(&format!("{bad}/a")), Err(LabelError::Prefix(bad.to_owned())));
        }
    }

    #[test]
    fn values() {
        let longest = "v".repeat(63);
        for good in ["", "v", "V1", "1.2.3", "a_b-c", &longest] {
            assert_eq!(value(good).as_deref(), Ok(good));
        }
        let long = "v".repeat(64);
        for bad in [" ", "a b", "-", "a-", ".a", "a/b", "a,b", "ä", &long] {
            assert_eq!(value(bad), Err(LabelError::Value(bad.to_owned())));
        }
    }
}
