//! Codes of findings, such as `FLK010`: what authors of policies silence.

use std::fmt;
use std::str::FromStr;

/// What a code begins with.
const PREFIX: &str = "FLK";

/// The code of a kind of finding: `FLK` and three digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LintCode(u16);

/// A text that is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no code of a finding; expected {PREFIX} and three digits, such as FLK010")]
pub struct LintCodeError;

impl LintCode {
    /// The code with this number; `None` if it has more than three digits.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < 1000 { Some(Self(number)) } else { None }
    }
}

impl FromStr for LintCode {
    type Err = LintCodeError;

    fn from_str(text: &str) -> Result<Self, LintCodeError> {
        let digits = text.strip_prefix(PREFIX).ok_or(LintCodeError)?;
        // A number alone would be parsed with a sign as well, or with fewer digits.
        let plain = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().map_err(|_| LintCodeError)?;
        plain.then_some(Self(number)).ok_or(LintCodeError)
    }
}

impl fmt::Display for LintCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:03}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_three_digits_behind_the_prefix() {
        for text in ["FLK000", "FLK010", "FLK999"] {
            assert_eq!(text.parse::<LintCode>().map(|code| code.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "FLK", "FLK10", "FLK0100", "flk010", "FLK+10", "FLK 10", "XYZ010", "010"] {
            assert_eq!(text.parse::<LintCode>(), Err(LintCodeError), "{text}");
        }
        assert_eq!(LintCode::new(10), "FLK010".parse().ok());
        assert_eq!(LintCode::new(1000), None);
    }
}
