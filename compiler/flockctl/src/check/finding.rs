//! What a check of a cluster comes to, and how it is shown. Pure.

use serde::Serialize;

use crate::table::{Tone, paint};

/// How it is with something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// Somebody should know.
    Warn,
    /// Policies are not, or not wholly, enforced, or would not be.
    Fail,
    /// It could not be seen.
    Skipped,
}

impl State {
    /// A sign, the word for it, and how it looks on a terminal.
    const fn shown(self) -> (&'static str, Tone) {
        match self {
            Self::Ok => ("✓ ok", Tone::Good),
            Self::Warn => ("! warn", Tone::Warning),
            Self::Fail => ("✗ fail", Tone::Bad),
            Self::Skipped => ("- skipped", Tone::Dim),
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What it belongs to, such as `nodes`.
    pub(crate) section: &'static str,
    /// What it is about, in lower case with dashes; the same in every version.
    pub(crate) name: &'static str,
    pub(crate) state: State,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    #[serde(rename = "do")]
    pub(crate) remedy: Option<String>,
}

/// Makes findings of one section.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section(pub(crate) &'static str);

impl Section {
    fn finding(self, name: &'static str, state: State, found: &str, remedy: Option<&str>) -> Finding {
        // What objects are called holds nothing that moves a cursor.
        let found = found.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        Finding { section: self.0, name, state, found, remedy: remedy.map(str::to_owned) }
    }

    pub(crate) fn ok(self, name: &'static str, found: impl Into<String>) -> Finding {
        self.finding(name, State::Ok, &found.into(), None)
    }

    pub(crate) fn skipped(self, name: &'static str, found: impl Into<String>) -> Finding {
        self.finding(name, State::Skipped, &found.into(), None)
    }

    pub(crate) fn warn(self, name: &'static str, found: impl Into<String>, remedy: &str) -> Finding {
        self.finding(name, State::Warn, &found.into(), Some(remedy))
    }

    pub(crate) fn fail(self, name: &'static str, found: impl Into<String>, remedy: &str) -> Finding {
        self.finding(name, State::Fail, &found.into(), Some(remedy))
    }
}

/// All findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Nothing has failed.
    pub(crate) well: bool,
    pub(crate) findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn new(findings: Vec<Finding>) -> Self {
        // Warnings do not count: what they are about may be meant, and `--wait` would not end.
        let well = findings.iter().all(|finding| finding.state != State::Fail);
        Self { well, findings }
    }

    /// A line for each finding by section, and what to do below it.
    pub(crate) fn table(&self, colour: bool) -> String {
        let width = self.findings.iter().map(|finding| finding.section.len()).max().unwrap_or_default();
        let mut text = String::new();
        let mut last = "";
        for Finding { section, state, found, remedy, .. } in &self.findings {
            let label = if *section == last { "" } else { section };
            last = section;
            let (sign, tone) = state.shown();
            let sign = paint(&format!("{sign:<9}"), tone, colour);
            text.push_str(&format!("{label:<width$}  {sign}  {found}\n"));
            if let Some(remedy) = remedy {
                text.push_str(&format!("{:indent$}do: {remedy}\n", "", indent = width + 13));
            }
        }
        text + "\n" + &self.summary() + "\n"
    }

    /// What is not well, a line each, and the summary.
    pub(crate) fn short(&self) -> String {
        let bad = self.findings.iter().filter(|it| matches!(it.state, State::Warn | State::Fail));
        let line =
            |it: &Finding| format!("{} {}/{}: {}\n", it.state.shown().0, it.section, it.name, it.found);
        bad.map(line).collect::<String>() + &self.summary() + "\n"
    }

    /// Well or not, and how many of each.
    pub(crate) fn summary(&self) -> String {
        let count = |state| self.findings.iter().filter(|finding| finding.state == state).count();
        format!(
            "{}: {} ok, {} warn, {} fail, {} skipped",
            if self.well { "all well" } else { "not well" },
            count(State::Ok),
            count(State::Warn),
            count(State::Fail),
            count(State::Skipped)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let (nodes, others) = (Section("nodes"), Section("conflicts"));
        Report::new(vec![
            nodes.ok("agents", "2 of 2 agents connected"),
            nodes.fail("enforced", "1 of 2\u{1b}", "kubectl flock nodes --behind"),
            others.warn("enforcers", "Calico enforces, too", "see README"),
            others.skipped("proxy", "may not be read"),
        ])
    }

    #[test]
    fn sections_are_named_once_and_signs_have_words() {
        let expected = "\
nodes      ✓ ok       2 of 2 agents connected
           ✗ fail     1 of 2\u{20}
                      do: kubectl flock nodes --behind
conflicts  ! warn     Calico enforces, too
                      do: see README
           - skipped  may not be read

not well: 1 ok, 1 warn, 1 fail, 1 skipped
";
        assert_eq!(report().table(false), expected);
        assert!(report().table(true).contains("\x1b[31m✗ fail   \x1b[0m"));
    }

    #[test]
    fn short_shows_what_is_not_well() {
        let expected = "\
✗ fail nodes/enforced: 1 of 2\u{20}
! warn conflicts/enforcers: Calico enforces, too
not well: 1 ok, 1 warn, 1 fail, 1 skipped
";
        assert_eq!(report().short(), expected);
        assert_eq!(
            Report::new(vec![Section("a").warn("b", "c", "d")]).summary(),
            "all well: 0 ok, 1 warn, 0 fail, 0 skipped"
        );
    }
}
