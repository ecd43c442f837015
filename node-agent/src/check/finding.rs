//! What a preflight comes to: findings, and how they are shown to people and to programs. Pure.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};

/// How it is with something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// The node's policies are enforced, and yet somebody should know.
    Warn,
    /// Policies are not, or not wholly, enforced.
    Fail,
    /// It could not be seen, or does not matter here.
    Skipped,
}

impl State {
    /// A sign and the word for it.
    const fn shown(self) -> &'static str {
        match self {
            Self::Ok => "✓ ok",
            Self::Warn => "! warn",
            Self::Fail => "✗ fail",
            Self::Skipped => "- skipped",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, in lower case with dashes; the same in every version.
    pub name: String,
    /// How it is with it.
    pub state: State,
    /// What was found.
    #[serde(serialize_with = "printable")]
    pub found: String,
    /// What follows from it; `None` where all is well.
    pub means: Option<String>,
    /// What to do about it.
    #[serde(rename = "do")]
    pub remedy: Option<String>,
}

impl Finding {
    fn new(name: impl Into<String>, state: State, found: impl Into<String>) -> Self {
        Self { name: name.into(), state, found: found.into(), means: None, remedy: None }
    }

    /// It is as it should be.
    #[must_use]
    pub fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(name, State::Ok, found)
    }

    /// It could not be seen, or does not matter: `found` says why.
    #[must_use]
    pub fn skipped(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(name, State::Skipped, found)
    }

    /// Somebody should know: what follows, and what to do.
    #[must_use]
    pub fn warn(name: impl Into<String>, found: impl Into<String>, means: &str, remedy: &str) -> Self {
        Self::new(name, State::Warn, found).with(means, remedy)
    }

    /// Policies are not wholly enforced: what follows, and what to do.
    #[must_use]
    pub fn fail(name: impl Into<String>, found: impl Into<String>, means: &str, remedy: &str) -> Self {
        Self::new(name, State::Fail, found).with(means, remedy)
    }

    fn with(self, means: &str, remedy: &str) -> Self {
        Self { means: Some(means.to_owned()), remedy: Some(remedy.to_owned()), ..self }
    }
}

/// All findings of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The version of the agent that looked.
    pub version: &'static str,
    /// The node, if its name was given.
    pub node: Option<String>,
    /// Returns true if nothing has failed.
    pub well: bool,
    /// In the order in which they are read.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The report of a node.
    #[must_use]
    pub fn new(node: Option<String>, findings: Vec<Finding>) -> Self {
        let well = findings.iter().all(|finding| finding.state != State::Fail);
        Self { version: env!("CARGO_PKG_VERSION"), node, well, findings }
    }

    /// For people: a line for each finding, below it what it means and what to do.
    #[must_use]
    pub fn table(&self) -> String {
        let width = self.findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
        let mut text = String::new();
        for Finding { name, state, found, means, remedy } in &self.findings {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{:<9}  {name:<width$}  {}", state.shown(), one_line(found));
            let below = [("means", means), ("do", remedy)];
            for (word, words) in below.iter().filter_map(|(word, words)| Some((word, words.as_ref()?))) {
                let _ = writeln!(text, "{:indent$}{word}: {}", "", one_line(words), indent = width + 13);
            }
        }
        let _ = writeln!(text, "\n{}", self.summary());
        text
    }

    /// The last line: well or not, and how many of each.
    fn summary(&self) -> String {
        let count = |state| self.findings.iter().filter(|finding| finding.state == state).count();
        let node = self.node.as_deref().unwrap_or("this node");
        format!(
            "{node} is {}: {} ok, {} warn, {} fail, {} skipped",
            if self.well { "well" } else { "not well" },
            count(State::Ok),
            count(State::Warn),
            count(State::Fail),
            count(State::Skipped)
        )
    }

    /// For programs.
    ///
    /// # Errors
    /// None that is known: all of it is text.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

/// What others have named holds no control characters.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn printable<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&one_line(text))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn report() -> Report {
        let findings = vec![
            Finding::ok("nft", "nftables v1.0.6"),
            Finding::warn("state-dir", "is\u{1b}[2Jmissing", "nothing is restored", "make it"),
            Finding::skipped("processes", "not seen"),
        ];
        Report::new(Some("worker-1".to_owned()), findings)
    }

    #[test]
    fn people_read_a_sign_and_its_word_and_what_to_do() {
        let expected = "\
✓ ok       nft        nftables v1.0.6
! warn     state-dir  is [2Jmissing
                      means: nothing is restored
                      do: make it
- skipped  processes  not seen

worker-1 is well: 1 ok, 1 warn, 0 fail, 1 skipped
";
        assert_eq!(report().table(), expected);
    }

    #[test]
    fn a_failure_alone_makes_a_node_not_well() {
        assert!(report().well);
        let findings = vec![Finding::fail("nft", "missing", "nothing is enforced", "install it")];
        let report = Report::new(None, findings);
        assert!(!report.well);
        assert!(report.table().ends_with("this node is not well: 0 ok, 0 warn, 1 fail, 0 skipped\n"));
    }

    #[test]
    fn programs_read_every_field() {
        let json: Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        assert_eq!((&json["well"], &json["node"]), (&json!(true), &json!("worker-1")));
        let expected = json!({
            "name": "state-dir", "state": "warn", "found": "is [2Jmissing", "means": "nothing is restored", "do": "make it",
        });
        assert_eq!(json["findings"][1], expected);
        assert_eq!(json["findings"][0]["means"], Value::Null);
    }
}
