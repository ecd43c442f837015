#![doc = include_str!("../README.md")]

use std::fmt;

/// The version of the workspace, by the rules of Semantic Versioning.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The first 12 digits of the commit, or `None` where the build knew none.
pub const COMMIT: Option<&str> = option_env!("FLOCK_COMMIT_SHOWN");

/// What a program that can do `numbers` (each with its name) is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version<'a> {
    /// The version of the release.
    pub version: &'a str,
    /// What it was built from.
    pub commit: Option<&'a str>,
    /// What it can do, as counted numbers: `("grammar", 2)`.
    pub numbers: &'a [(&'a str, u32)],
}

impl<'a> Version<'a> {
    /// This build.
    #[must_use]
    pub const fn of_this_build(numbers: &'a [(&'a str, u32)]) -> Self {
        Self { version: VERSION, commit: COMMIT, numbers }
    }
}

impl fmt::Display for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version)?;
        let numbers = self.numbers.iter().map(|(name, number)| format!("{name} {number}"));
        let details: Vec<_> = self.commit.map(str::to_owned).into_iter().chain(numbers).collect();
        if details.is_empty() { Ok(()) } else { write!(f, " ({})", details.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let numbers: &[_] = &[("layout", 8), ("grammar", 2)];
        for (commit, numbers, shown) in [
            (Some("b2e2297"), numbers, "1.2.3 (b2e2297, layout 8, grammar 2)"),
            (None, numbers, "1.2.3 (layout 8, grammar 2)"),
            (Some("b2e2297"), &[], "1.2.3 (b2e2297)"),
            (None, &[], "1.2.3"),
        ] {
            assert_eq!(Version { version: "1.2.3", commit, numbers }.to_string(), shown);
        }
    }
}
