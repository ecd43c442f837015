//! Which states may have been in force when: each step's changes, from when they were made until every agent had
//! acknowledged what they led to.

use std::time::Instant;

use crate::change::Change;
use crate::ground::NODES;
use flock_model::oracle::cluster::Cluster;

/// One state of everything that decides on packets.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) cluster: Cluster,
    /// The node where the mover's namespace is, as an index; `None` while it is nowhere.
    pub(crate) mover: Option<usize>,
}

/// A step from one state to another.
#[derive(Debug)]
pub(crate) struct Step {
    /// For people.
    pub(crate) what: String,
    /// Just before the first change.
    pub(crate) started: Instant,
    /// Just after the last agent acknowledged; none until then.
    pub(crate) ended: Option<Instant>,
    /// Indexes of the states that may be in force meanwhile, the ones before and after included. The one after is
    /// the last.
    pub(crate) states: Vec<usize>,
}

/// All steps, and the states that they went through.
pub(crate) struct Timeline {
    pub(crate) states: Vec<State>,
    pub(crate) steps: Vec<Step>,
}

impl Timeline {
    /// From a state that is in force.
    pub(crate) fn new(first: State) -> Self {
        let now = Instant::now();
        let step = Step { what: "beginning".to_owned(), started: now, ended: Some(now), states: vec![0] };
        Self { states: vec![first], steps: vec![step] }
    }

    /// The newest state.
    pub(crate) fn now(&self) -> &State {
        &self.states[self.newest()]
    }

    fn newest(&self) -> usize {
        *self.steps.last().and_then(|step| step.states.last()).unwrap()
    }

    /// A step begins that leads through `through`; the last of them comes after it.
    pub(crate) fn begin(&mut self, what: String, through: Vec<State>) {
        let mut states = vec![self.newest()];
        states.extend(self.states.len()..self.states.len() + through.len());
        self.states.extend(through);
        self.steps.push(Step { what, started: Instant::now(), ended: None, states });
    }

    /// The step that was begun last has ended.
    pub(crate) fn end(&mut self) {
        if let Some(step) = self.steps.last_mut() {
            step.ended = Some(Instant::now());
        }
    }

    /// The steps during which something happened, or the one that had led to what was in force then.
    pub(crate) fn steps_between(&self, from: Instant, until: Instant) -> &[Step] {
        let end = self.steps.partition_point(|step| step.started <= until);
        let start = self.steps[..end].partition_point(|step| step.ended.is_some_and(|ended| ended < from));
        if start < end { &self.steps[start..end] } else { &self.steps[end.saturating_sub(1)..end] }
    }
}

/// Every state that a watcher may see on the way through `changes`: those of one kind come in order, kinds come
/// interleaved in any way. The first state has none of them, the last has all.
pub(crate) fn through(cluster: &Cluster, changes: &[Change]) -> Vec<Progress> {
    let mut kinds: Vec<_> = changes.iter().map(Change::kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let by_kind: Vec<Vec<&Change>> =
        kinds.iter().map(|kind| changes.iter().filter(|change| change.kind() == *kind).collect()).collect();
    let mut counts = vec![vec![0; kinds.len()]];
    for (index, changes) in by_kind.iter().enumerate() {
        counts = counts
            .iter()
            .flat_map(|known| (0..=changes.len()).map(move |count| (known.clone(), count)))
            .map(|(mut known, count)| {
                known[index] = count;
                known
            })
            .collect();
    }
    let progress = |counts: Vec<usize>| {
        let mut cluster = cluster.clone();
        for (changes, count) in by_kind.iter().zip(&counts) {
            changes[..*count].iter().for_each(|change| change.apply(&mut cluster));
        }
        Progress { counts, cluster }
    };
    counts.into_iter().map(progress).collect()
}

/// How far a watcher has got with a few changes.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// Of each kind.
    pub(crate) counts: Vec<usize>,
    pub(crate) cluster: Cluster,
}

impl Progress {
    /// Whether `other` may come after it.
    fn may_precede(&self, other: &Self) -> bool {
        self.counts.iter().zip(&other.counts).all(|(own, other)| own <= other)
    }
}

/// Whether the last of the revisions that nodes have at each point tells that all changes have arrived: no node may
/// have it, go on to another one and come back.
pub(crate) fn is_conclusive(points: &[Progress], revisions: &[[String; NODES.len()]]) -> bool {
    let Some(last) = revisions.last() else { return true };
    let all = || points.iter().zip(revisions);
    (0..NODES.len()).all(|node| {
        all().filter(|(_, at)| at[node] == last[node]).all(|(early, _)| {
            all().filter(|(late, _)| early.may_precede(late)).all(|(_, at)| at[node] == last[node])
        })
    })
}
