//! Problems as the log has them: what is new and what is mended, so many lines a minute for each namespace. Who has more
//! is told to ask for the list: whoever may write a namespace's objects must not write the cluster's log.

use std::collections::BTreeMap;
use std::time::Duration;

use flock_compiler_core::Problem;
use flock_shared::NamespaceName;
use tokio::time::Instant;

/// Lines about one namespace, or about what is in none, within [`SPELL`].
const LINES: u32 = 20;
const SPELL: Duration = Duration::from_secs(60);

/// Lines about a namespace.
#[derive(Debug)]
struct Spell {
    began: Instant,
    lines: u32,
}

/// All problems, and how much was said of them.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    /// In order.
    all: Vec<Problem>,
    spells: BTreeMap<Option<NamespaceName>, Spell>,
}

/// What may be said of a problem.
#[derive(Debug, PartialEq, Eq)]
enum Say {
    It,
    /// That there are more.
    More,
    Nothing,
}

impl Complaints {
    /// All problems, in order.
    pub(super) fn all(&self) -> &[Problem] {
        &self.all
    }

    /// Goes on to these, and says in the log what is new and what is mended.
    pub(super) fn review(&mut self, mut problems: Vec<Problem>) {
        problems.sort();
        let before = std::mem::replace(&mut self.all, problems);
        let now = Instant::now();
        self.spells.retain(|_, spell| now.duration_since(spell.began) < SPELL);
        // Taken out, so that the problems can be gone through beside them.
        let mut spells = std::mem::take(&mut self.spells);
        for problem in self.all.iter().filter(|problem| before.binary_search(problem).is_err()) {
            match say(&mut spells, problem, now) {
                Say::It => tracing::warn!(%problem, "problem"),
                Say::More => more(problem),
                Say::Nothing => {}
            }
        }
        for problem in before.iter().filter(|problem| self.all.binary_search(problem).is_err()) {
            match say(&mut spells, problem, now) {
                Say::It => tracing::info!(%problem, "mended"),
                Say::More => more(problem),
                Say::Nothing => {}
            }
        }
        self.spells = spells;
    }
}

fn say(spells: &mut BTreeMap<Option<NamespaceName>, Spell>, problem: &Problem, now: Instant) -> Say {
    let spell = spells.entry(problem.namespace.clone()).or_insert(Spell { began: now, lines: 0 });
    spell.lines = spell.lines.saturating_add(1);
    match spell.lines {
        ..=LINES => Say::It,
        lines if lines == LINES + 1 => Say::More,
        _ => Say::Nothing,
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

    /// How often each was said, and whether there is more.
    fn said(
        spells: &mut BTreeMap<Option<NamespaceName>, Spell>,
        of: &str,
        count: u32,
        now: Instant,
    ) -> [usize; 2] {
        let all: Vec<Say> = (0..count).map(|number| say(spells, &problem(of, number), now)).collect();
        [Say::It, Say::More].map(|wanted| all.iter().filter(|said| **said == wanted).count())
    }

    #[test]
    fn a_namespace_has_its_lines_and_takes_nobody_elses() {
        let (mut spells, now) = (BTreeMap::new(), Instant::now());
        assert_eq!(said(&mut spells, "hostile", 800, now), [LINES as usize, 1]);
        assert_eq!(said(&mut spells, "hostile", 800, now), [0, 0]);
        assert_eq!(said(&mut spells, "shop", 3, now), [3, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_minute_there_are_lines_again() {
        let mut complaints = Complaints::default();
        complaints.review((0..100).map(|number| problem("hostile", number)).collect());
        assert_eq!((complaints.all().len(), complaints.spells.len()), (100, 1));
        tokio::time::advance(SPELL).await;
        complaints.review(complaints.all().to_vec());
        assert_eq!((complaints.all().len(), complaints.spells.len()), (100, 0), "nothing is new");
        assert_eq!(said(&mut complaints.spells, "hostile", 30, Instant::now()), [LINES as usize, 1]);
    }
}
