//! Bearer tokens: what says who a client of the compiler is. Never printed.

use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;

/// The longest token that is read, in bytes. Those of service accounts have about a thousand.
const LIMIT: usize = 16 * 1024;

/// A bearer token (RFC 6750), such as a projected service account token. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

/// Why something is no token. Shows nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is nothing.
    #[error("is empty")]
    Empty,
    /// Longer than any token.
    #[error("is longer than {LIMIT} bytes")]
    TooLong,
    /// Something that no token holds.
    #[error("holds something other than letters, digits and -._~+/=")]
    Malformed,
    /// The file could not be read.
    #[error("cannot be read")]
    Unreadable(#[from] io::Error),
}

impl BearerToken {
    /// A token that is made of what tokens are made of.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        // Padding stands at the end alone (RFC 6750).
        let (body, padding) = text.split_at(text.trim_end_matches('=').len());
        if text.len() > LIMIT {
            Err(TokenError::TooLong)
        } else if body.is_empty() && padding.is_empty() {
            Err(TokenError::Empty)
        } else if body.is_empty() || !body.bytes().all(is_of_token) {
            Err(TokenError::Malformed)
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The token in a file, without the white space around it.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let mut text = String::new();
        // One byte more than is allowed tells that a file is too long, however long it is.
        std::fs::File::open(path)?.take(LIMIT as u64 + 1).read_to_string(&mut text)?;
        if text.len() > LIMIT {
            return Err(TokenError::TooLong);
        }
        Self::new(text.trim())
    }

    /// The token itself, for those who have to send it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// The value of the header or metadata `authorization`, marked as sensitive.
    #[cfg(feature = "dial")]
    #[must_use]
    pub fn authorization(&self) -> tonic::metadata::AsciiMetadataValue {
        let value = tonic::metadata::AsciiMetadataValue::try_from(["Bearer ", &self.0].concat());
        #[expect(clippy::expect_used, reason = "letters, digits and a few signs are a header's value")]
        let mut value = value.expect("tokens are ASCII");
        value.set_sensitive(true);
        value
    }
}

const fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_taken_and_not_shown() {
        for text in ["a", "eyJhbGciOi.J9-_x.y~+/", "YWJj=="] {
            let token = BearerToken::new(text).unwrap();
            assert_eq!((token.secret(), format!("{token:?}")), (text, "BearerToken(…)".to_owned()));
        }
    }

    #[test]
    fn anything_else_is_refused_without_a_word_of_it() {
        for text in ["", "=", "a b", "a\nb", "a=b", "ä", "secret\0"] {
            let error = BearerToken::new(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(matches!(BearerToken::new(&"a".repeat(LIMIT + 1)), Err(TokenError::TooLong)));
    }

    #[test]
    fn a_file_is_read_without_its_last_line_break() {
        let file = std::env::temp_dir().join(format!("flock-token-{}", std::process::id()));
        std::fs::write(&file, "a.b.c\n").unwrap();
        assert_eq!(BearerToken::read(&file).unwrap().secret(), "a.b.c");
        std::fs::write(&file, "a".repeat(LIMIT + 2)).unwrap();
        assert!(matches!(BearerToken::read(&file), Err(TokenError::TooLong)));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(BearerToken::read(&file), Err(TokenError::Unreadable(_))));
    }
}
