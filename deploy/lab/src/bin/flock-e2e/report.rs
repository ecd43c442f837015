//! What the checks came to: a line each, and JUnit's XML for programs. Pure.

use std::fmt::Write as _;
use std::time::Duration;

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it should be.
    Passed {
        /// How long it took to become so, from the change on.
        settled: Duration,
    },
    /// Not as it should be, and what of it.
    Failed(Vec<String>),
    /// It cannot be made here, and why.
    Skipped(String),
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

impl Entry {
    /// The line that people read, with what failed below it.
    pub(crate) fn line(&self) -> String {
        let (word, more) = match &self.outcome {
            // The first look found it so.
            Outcome::Passed { settled } if settled.is_zero() => {
                ("ok", "in force at the first try".to_owned())
            }
            Outcome::Passed { settled } => ("ok", format!("in force after {settled:.1?}")),
            Outcome::Failed(_) => ("FAILED", String::new()),
            Outcome::Skipped(why) => ("skipped", why.clone()),
        };
        let mut line = format!("{word:<8} {:<20} {:<66} {more}", self.name, self.about);
        line.truncate(line.trim_end().len());
        if let Outcome::Failed(faults) = &self.outcome {
            for fault in faults {
                let _ = write!(line, "\n         {fault}");
            }
        }
        line
    }
}

/// What all came to, in a line.
pub(crate) fn summary(entries: &[Entry]) -> String {
    let count = |is: fn(&Outcome) -> bool| entries.iter().filter(|entry| is(&entry.outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    format!(
        "{} checks: {} passed, {failed} failed, {skipped} skipped",
        entries.len(),
        entries.len() - failed - skipped
    )
}

/// Returns true if no check failed.
pub(crate) fn is_good(entries: &[Entry]) -> bool {
    entries.iter().all(|entry| !matches!(entry.outcome, Outcome::Failed(_)))
}

/// The report in JUnit's format.
pub(crate) fn junit(entries: &[Entry]) -> String {
    let failures = entries.iter().filter(|entry| matches!(entry.outcome, Outcome::Failed(_))).count();
    let skipped = entries.iter().filter(|entry| matches!(entry.outcome, Outcome::Skipped(_))).count();
    let time: f64 = entries.iter().map(|entry| entry.took.as_secs_f64()).sum();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        xml,
        "<testsuite name=\"flock-e2e\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\" time=\"{time:.3}\">",
        entries.len()
    );
    for Entry { name, about, outcome, took } in entries {
        let (name, about, took) = (escaped(name), escaped(about), took.as_secs_f64());
        let _ =
            write!(xml, "  <testcase classname=\"flock-e2e\" name=\"{name}: {about}\" time=\"{took:.3}\"");
        let _ = match outcome {
            Outcome::Passed { .. } => writeln!(xml, "/>"),
            Outcome::Failed(faults) => {
                let text = escaped(&faults.join("\n"));
                let first = escaped(faults.first().map_or("", String::as_str));
                writeln!(xml, "><failure message=\"{first}\">{text}</failure></testcase>")
            }
            Outcome::Skipped(why) => writeln!(xml, "><skipped message=\"{}\"/></testcase>", escaped(why)),
        };
    }
    xml.push_str("</testsuite>\n");
    xml
}

/// Text for an attribute or an element; what XML cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            character if character.is_control() => {}
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let took = Duration::from_millis(1500);
        let entry = |name, outcome| Entry { name, about: "what it is about", outcome, took };
        vec![
            entry("good", Outcome::Passed { settled: Duration::from_millis(20) }),
            entry("bad", Outcome::Failed(vec!["a & \"b\" < c\u{7}".into(), "more".into()])),
            entry("none", Outcome::Skipped("one node only".into())),
        ]
    }

    #[test]
    fn junit_counts_and_escapes() {
        let xml = junit(&entries());
        assert!(xml.contains("tests=\"3\" failures=\"1\" skipped=\"1\" time=\"4.500\""), "{xml}");
        let failure = "<failure message=\"a &amp; &quot;b&quot; &lt; c\">a &amp; &quot;b&quot; &lt; c&#10;more</failure>";
        assert!(xml.contains(failure), "{xml}");
        assert!(
            xml.contains("<skipped message=\"one node only\"/>") && xml.ends_with("</testsuite>\n"),
            "{xml}"
        );
    }

    #[test]
    fn one_failure_is_told_and_is_enough() {
        let [good, bad, none] = entries().try_into().unwrap();
        assert!(bad.line().contains("FAILED") && bad.line().ends_with("\n         more"), "{}", bad.line());
        assert!(is_good(&[good.clone(), none.clone()]) && !is_good(&[good.clone(), bad.clone()]));
        assert_eq!(summary(&[good, bad, none]), "3 checks: 1 passed, 1 failed, 1 skipped");
    }
}
