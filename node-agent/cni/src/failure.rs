//! The specification's error result.

use flock_shared::cni::VERSIONS;
use serde::Serialize;

/// What goes wrong, by the specification's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The configuration is of another version of the specification.
    IncompatibleVersion,
    /// A variable of the environment is missing or is none.
    Environment,
    /// Input or output failed.
    Io,
    /// The configuration is no JSON, or not of its form.
    Decoding,
    /// The configuration says what cannot be.
    Config,
    /// It would do later.
    TryAgainLater,
    /// `ADD` would fail.
    NotAvailable,
}

impl Code {
    const fn number(self) -> u32 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::Environment => 4,
            Self::Io => 5,
            Self::Decoding => 6,
            Self::Config => 7,
            Self::TryAgainLater => 11,
            Self::NotAvailable => 50,
        }
    }
}

/// An error result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of error it is.
    pub code: Code,
    /// What is wrong, in short.
    pub message: &'static str,
    /// What is wrong, with names and values.
    pub details: String,
}

#[derive(Serialize)]
struct WireError<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'a str,
    code: u32,
    msg: &'a str,
    details: &'a str,
}

impl Failure {
    /// An error result.
    pub fn new(code: Code, message: &'static str, details: impl Into<String>) -> Self {
        Self { code, message, details: details.into() }
    }

    /// The error result as a runtime reads it, for a configuration of this version, where it is known.
    #[must_use]
    pub fn to_json(&self, version: Option<&str>) -> String {
        let newest = VERSIONS.last().copied().unwrap_or_default();
        let wire = WireError {
            cni_version: version.unwrap_or(newest),
            code: self.code.number(),
            msg: self.message,
            details: &self.details,
        };
        // Strings and numbers always become JSON.
        serde_json::to_string(&wire).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_specifications_error_result() {
        let failure = Failure::new(Code::TryAgainLater, "not yet", "the agent said \"no\"");
        let expected =
            r#"{"cniVersion":"0.4.0","code":11,"msg":"not yet","details":"the agent said \"no\""}"#;
        assert_eq!(failure.to_json(Some("0.4.0")), expected);
        assert!(failure.to_json(None).contains(r#""cniVersion":"1.1.0""#));
    }
}
