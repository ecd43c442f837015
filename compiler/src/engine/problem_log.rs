//! Problems as the log has them: what is new and what is mended, so many lines a minute for each namespace. Who has more
//! is told to ask for the list: whoever may write a namespace's objects must not write the cluster's log.

use std::collections::BTreeMap;
use std::time::Duration;

use flock_compiler_core::Problem;
use flock_shared::NamespaceName;
use tokio::time::Instant;

/// Lines about one namespace, or about what is in none, within [`WINDOW`].
const LINES: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// Lines about a namespace.
#[derive(Debug)]
struct LogWindow {
    began: Instant,
    lines: u32,
}

/// All problems, and how much was said of them.
#[derive(Debug, Default)]
pub(super) struct ProblemLog {
    /// In order.
    all: Vec<Problem>,
    windows: BTreeMap<Option<NamespaceName>, LogWindow>,
}

/// What may be said of a problem.
#[derive(Debug, PartialEq, Eq)]
enum LogDecision {
    Log,
    /// That there are more.
    More,
    Nothing,
}

impl ProblemLog {
    /// All problems, in order.
    pub(super) fn all(&self) -> &[Problem] {
        &self.all
    }

    /// Goes on to these, and says in the log what is new and what is mended.
    pub(super) fn review(&mut self, mut problems: Vec<Problem>) {
        // Sorted, so that what is new and what is mended are found by bisection in lists of any length.
        problems.sort();
        let before = std::mem::replace(&mut self.all, problems);
        let now = Instant::now();
        self.windows.retain(|_, window| now.duration_since(window.began) < WINDOW);
        // Taken out, so that the problems can be gone through beside them.
        let mut windows = std::mem::take(&mut self.windows);
        for problem in self.all.iter().filter(|problem| before.binary_search(problem).is_err()) {
            match say(&mut windows, problem, now) {
                LogDecision::Log => tracing::warn!(%problem, "problem"),
                LogDecision::More => more(problem),
                LogDecision::Nothing => {}
            }
        }
        for problem in before.iter().filter(|problem| self.all.binary_search(problem).is_err()) {
            match say(&mut windows, problem, now) {
                LogDecision::Log => tracing::info!(%problem, "mended"),
                LogDecision::More => more(problem),
                LogDecision::Nothing => {}
            }
        }
        self.windows = windows;
    }
}

fn say(
    windows: &mut BTreeMap<Option<NamespaceName>, LogWindow>,
    problem: &Problem,
    now: Instant,
) -> LogDecision {
    let window = windows.entry(problem.namespace.clone()).or_insert(LogWindow { began: now, lines: 0 });
    window.lines = window.lines.saturating_add(1);
    match window.lines {
        ..=LINES => LogDecision::Log,
        lines if lines == LINES + 1 => LogDecision::More,
        _ => LogDecision::Nothing,
    }
}

fn more(problem: &Problem) {
    match &problem.namespace {
        Some(namespace) => tracing::warn!(
            %namespace,
            "more of its problems are new or mended than are logged in a minute; `flockctl problems -n {namespace}` has all"
        ),
        None => tracing::warn!(
            "more problems outside of namespaces are new or mended than are logged in a minute; `flockctl problems` has all"
        ),
    }
}

#[cfg(test)]
mod tests {
    use flock_compiler_core::problem::Consequence;

    use super::*;

    fn problem(namespace: &str, number: u32) -> Problem {
        Problem {
            object: format!("NetworkPolicy {namespace}/p{number}"),
            namespace: NamespaceName::new(namespace).ok(),
            origin: None,
            field: String::new(),
            message: String::new(),
            consequence: Consequence::Isolated,
        }
    }

    /// How many were logged, and how often it was said that there are more.
    fn said(
        windows: &mut BTreeMap<Option<NamespaceName>, LogWindow>,
        of: &str,
        count: u32,
        now: Instant,
    ) -> [usize; 2] {
        let all: Vec<LogDecision> =
            (0..count).map(|number| say(windows, &problem(of, number), now)).collect();
        [LogDecision::Log, LogDecision::More].map(|wanted| all.iter().filter(|said| **said == wanted).count())
    }

    #[test]
    fn a_namespace_has_its_lines_and_takes_nobody_elses() {
        let (mut windows, now) = (BTreeMap::new(), Instant::now());
        assert_eq!(said(&mut windows, "hostile", 800, now), [LINES as usize, 1]);
        assert_eq!(said(&mut windows, "hostile", 800, now), [0, 0]);
        assert_eq!(said(&mut windows, "shop", 3, now), [3, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_minute_there_are_lines_again() {
        let mut problem_log = ProblemLog::default();
        problem_log.review((0..100).map(|number| problem("hostile", number)).collect());
        assert_eq!((problem_log.all().len(), problem_log.windows.len()), (100, 1));
        tokio::time::advance(WINDOW).await;
        problem_log.review(problem_log.all().to_vec());
        assert_eq!((problem_log.all().len(), problem_log.windows.len()), (100, 0), "nothing is new");
        assert_eq!(said(&mut problem_log.windows, "hostile", 30, Instant::now()), [LINES as usize, 1]);
    }
}
