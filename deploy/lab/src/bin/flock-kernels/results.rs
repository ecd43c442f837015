//! What a test program's output says, in few words.

use crate::options::Part;

/// A cell of the table, and lines below it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) said: String,
    pub(crate) is_well: bool,
    /// What was refused and with which words, or which tests failed.
    pub(crate) words: Vec<String>,
}

/// Reads the output of a part's tests; `status` is nothing where they did not end.
pub(crate) fn outcome(part: Part, text: &str, status: Option<i32>) -> Outcome {
    let failed: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .map(|name| format!("{name} failed"))
        .collect();
    let (passed, skipped) =
        (count(text, " ... ok"), text.lines().filter(|line| line.starts_with("skipped: ")));
    let skipped: Vec<String> = skipped.map(ToOwned::to_owned).collect();
    let said = match part {
        Part::Goldens => sum(text, "goldens").map(|(tried, refused)| match refused {
            0 => format!("{tried} of {tried} load"),
            _ => format!("{refused} of {tried} refused"),
        }),
        Part::Packets | Part::Tunnels => {
            sum(text, "flows").map(|(tried, wrong)| format!("{} flows, {wrong} wrong", grouped(tried)))
        }
        Part::Deltas => sum(text, "deltas")
            .map(|(tried, refused)| format!("{} deltas, {refused} refused", grouped(tried))),
        Part::Agent | Part::Facts => Some(format!("{passed} of {} tests pass", passed + failed.len())),
    };
    let mut said = said.unwrap_or_else(|| "not tried".to_owned());
    if !failed.is_empty() && !matches!(part, Part::Agent | Part::Facts | Part::Goldens) {
        said.push_str(&format!(", {} of {} tests failed", failed.len(), passed + failed.len()));
    }
    match status {
        None => said.push_str(", the guest died"),
        // What `timeout` ends with.
        Some(124 | 137) => said.push_str(", did not end in time"),
        Some(_) => {}
    }
    // A test that was skipped, or no test at all, shows nothing of this kernel.
    let is_well = status == Some(0) && skipped.is_empty() && passed > 0;
    let mut words = if part == Part::Goldens { refusals(text) } else { failed };
    words.extend(skipped);
    Outcome { said, is_well, words }
}

fn count(text: &str, end: &str) -> usize {
    text.lines().filter(|line| line.starts_with("test ") && line.ends_with(end)).count()
}

/// The sums of all lines `what: N tried, M …`.
fn sum(text: &str, what: &str) -> Option<(usize, usize)> {
    let figures = text.lines().filter_map(|line| {
        let (tried, rest) = line.strip_prefix(what)?.strip_prefix(": ")?.split_once(" tried, ")?;
        let (bad, _) = rest.split_once(' ')?;
        Some((tried.parse::<usize>().ok()?, bad.parse::<usize>().ok()?))
    });
    figures.reduce(|(tried, bad), (more, worse)| (tried + more, bad + worse))
}

/// The lines after `refused:`, up to an empty one or the test's end.
fn refusals(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| *line != "refused:").skip(1);
    lines
        .take_while(|line| line.contains(": ") && !line.starts_with("note: "))
        .map(ToOwned::to_owned)
        .collect()
}

/// With commas between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goldens_are_refused_with_nfts_words() {
        let text = "\nrunning 1 test\ntest every_golden_loads_twice ... FAILED\n\nfailures:\n\n\
                    ---- every_golden_loads_twice stdout ----\ngoldens: 33 tried, 1 refused\n\nthread 'x' panicked at y:\n\
                    refused:\nports: /dev/stdin:3:1-9: Error: Could not process rule: Operation not supported\n\
                    stack backtrace:\n   0: x\n\n";
        let found = outcome(Part::Goldens, text, Some(101));
        assert_eq!((found.said.as_str(), found.is_well), ("1 of 33 refused", false));
        let words = "ports: /dev/stdin:3:1-9: Error: Could not process rule: Operation not supported";
        assert_eq!(found.words, [words]);
    }

    #[test]
    fn flows_are_added_up() {
        let text =
            "test a ... ok\ntest b ... FAILED\nflows: 1000 tried, 0 wrong\nflows: 234 tried, 2 wrong\n";
        let found = outcome(Part::Packets, text, Some(101));
        assert_eq!(found.said, "1,234 flows, 2 wrong, 1 of 2 tests failed");
        assert_eq!((found.is_well, found.words), (false, vec!["b failed".to_owned()]));
        let well = outcome(Part::Packets, "test a ... ok\nflows: 7 tried, 0 wrong\n", Some(0));
        assert_eq!((well.said.as_str(), well.is_well), ("7 flows, 0 wrong", true));
    }

    #[test]
    fn what_did_not_end_or_was_skipped_is_not_well() {
        let text = "test a ... ok\nskipped: needs root (a)\ndeltas: 5 tried, 0 refused\n";
        let found = outcome(Part::Deltas, text, Some(0));
        assert_eq!((found.is_well, found.words), (false, vec!["skipped: needs root (a)".to_owned()]));
        assert_eq!(outcome(Part::Deltas, "", None).said, "not tried, the guest died");
        assert_eq!(
            outcome(Part::Agent, "test a ... ok\n", Some(124)).said,
            "1 of 1 tests pass, did not end in time"
        );
    }
}
