//! The mirror: a second world beside the engine's, for questions and for what looks back.
//!
//! ```text
//! engine ─ PassNews ─▶ Feed ─▶ mirror (a task) ─▶ Mirrored: World, what nodes should have   (copied on write)
//!                                    │                 ▲
//!                                    └▶ History        └─ Snapshot ◀─ questions, on blocking threads
//! ```
//!
//! Both worlds share their objects, so this one costs its maps. The engine tells what has changed and waits for nobody. A
//! question holds what is mirrored by an [`Arc`]: while one does, the mirror waits for a moment, and then goes on with a
//! copy.

mod feed;
mod history;
mod node_set;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flock_compiler_core::judge::{Index, PodsOverBudget};
use flock_compiler_core::{Options, Output, World};
use flock_shared::NodeName;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use self::feed::{Feed, FeedWriter};
pub use self::history::{ChangedObject, History, PassRecord, rewound};
pub use self::node_set::NodeSet;

use self::feed::{Objects, PassNews};
use crate::engine::Sequence;

/// How long the mirror waits for questions before it copies the maps: most are answered by then.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often it looks meanwhile.
const LOOK: Duration = Duration::from_millis(5);
/// How long a question waits until the mirror knows what was published when it was asked.
const CATCH_UP: Duration = Duration::from_secs(1);
/// More objects than these are taken over in a copy, so that whoever wants a snapshot meanwhile does not wait; or more
/// outputs, which only take each other's places. A copy is of all maps, however little of them changes.
const IN_PLACE: usize = 1000;
const OUTPUTS_IN_PLACE: usize = 8 * IN_PLACE;

/// The objects of a pass, and what it has published.
#[derive(Debug, Clone, Default)]
pub struct Mirrored {
    /// The objects.
    pub world: World,
    /// What a judge looks up.
    pub index: Index,
    /// What each node of the cluster should have.
    pub outputs: BTreeMap<NodeName, Arc<Output>>,
    /// The pods that are closed because their policies cost more than is allowed.
    pub over_budget: Arc<PodsOverBudget>,
    /// The pass.
    pub sequence: Sequence,
}

/// What is mirrored, and how it is translated.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What is mirrored.
    pub mirrored: Arc<Mirrored>,
    /// How it is translated.
    pub options: Options,
}

/// What is mirrored. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Mirror(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    feed: Arc<Feed>,
    options: Options,
    state: Mutex<MirrorState>,
    reached: watch::Sender<Sequence>,
}

#[derive(Debug, Default)]
struct MirrorState {
    mirrored: Arc<Mirrored>,
    history: History,
}

impl Mirror {
    /// A mirror that has seen nothing, and the end by which the engine tells it.
    pub(crate) fn new(options: Options) -> (Self, FeedWriter) {
        let feed = Arc::new(Feed::default());
        let mirrored = Mirrored { world: World::trusting(options.trust), ..Mirrored::default() };
        let state = MirrorState { mirrored: Arc::new(mirrored), history: History::default() };
        let writer = FeedWriter::new(Arc::clone(&feed));
        let reached = watch::channel(Sequence::default()).0;
        (Self(Arc::new(Shared { feed, options, state: Mutex::new(state), reached })), writer)
    }

    /// Follows the engine for as long as it is polled.
    pub(crate) async fn run(self) {
        loop {
            let news = self.0.feed.take().await;
            let until = Instant::now() + PATIENCE;
            while Arc::strong_count(&self.0.state.lock().mirrored) > 1 && Instant::now() < until {
                sleep(LOOK).await;
            }
            let mirror = self.clone();
            // It panics in a debug build only, and then the mirror stays where it is.
            if tokio::task::spawn_blocking(move || mirror.take_over(news)).await.is_err() {
                return;
            }
        }
    }

    fn take_over(&self, news: Vec<PassNews>) {
        let Some(newest) = news.last().map(|pass| pass.sequence) else { return };
        news.iter().filter(|pass| pass.is_pass).for_each(log);
        // `None` if one of them has all objects.
        let objects: Option<usize> = news.iter().map(PassNews::objects).sum();
        let is_small = objects.is_some_and(|objects| objects <= IN_PLACE)
            && news.iter().map(|pass| pass.changed.len()).sum::<usize>() <= OUTPUTS_IN_PLACE;
        let done = {
            let mut state = self.0.state.lock();
            let MirrorState { mirrored, history } = &mut *state;
            // Under the lock, by which snapshots are taken: none can begin in between.
            match Arc::get_mut(mirrored).filter(|_| is_small) {
                // What nodes had before is dropped once the lock is not held any more.
                Some(mirrored) => {
                    Ok(news.into_iter().map(|pass| mirrored.apply(pass).record(history)).collect::<Vec<_>>())
                }
                None => Err((Arc::clone(mirrored), news)),
            }
        };
        if let Err((held, news)) = done {
            // Nobody else writes, so nothing comes in between. The lock is not held while the maps are copied.
            let mut copy = Mirrored::clone(&held);
            let mut later = Vec::new();
            for pass in news {
                later.push(copy.apply(pass));
            }
            let copy = Arc::new(copy);
            let mut state = self.0.state.lock();
            let outputs: Vec<_> = later.into_iter().map(|pass| pass.record(&mut state.history)).collect();
            let before = std::mem::replace(&mut state.mirrored, copy);
            drop(state);
            // What was mirrored before is dropped out of the lock, too.
            drop((before, held, outputs));
        }
        // After it can be seen: who has waited for a pass takes a snapshot at once.
        self.0.reached.send_replace(newest);
    }

    /// The newest that is mirrored, also if the engine is further.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { mirrored: Arc::clone(&self.0.state.lock().mirrored), options: self.0.options }
    }

    /// What is mirrored once that is as new as `wanted`, if that does not take long.
    pub async fn snapshot_of(&self, wanted: Sequence) -> Snapshot {
        let mut reached = self.reached();
        // An answer that is a second late beats none.
        drop(timeout(CATCH_UP, reached.wait_for(|reached| *reached >= wanted)).await);
        self.snapshot()
    }

    /// The newest pass that is mirrored.
    #[must_use]
    pub fn reached(&self) -> watch::Receiver<Sequence> {
        self.0.reached.subscribe()
    }

    /// Looks at what has changed of late; to be quick.
    pub fn history<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.0.state.lock().history)
    }
}

/// One line for each pass.
fn log(pass: &PassNews) {
    let (objects, total) = match &pass.objects {
        Objects::Changed(differences) => {
            let (objects, counts) = history::changed(differences);
            (objects, counts.values().copied().fold(0, u32::saturating_add))
        }
        Objects::All(world) => (Vec::new(), u32::try_from(world.pods().len()).unwrap_or(u32::MAX)),
    };
    tracing::info!(
        sequence = pass.sequence.number(),
        objects = total,
        first = objects.first().map(tracing::field::display),
        nodes = pass.changed.len(),
        took_ms = u64::try_from(pass.took.as_millis()).unwrap_or(u64::MAX),
        "pass"
    );
}

/// A pass that is taken over, and still to be recorded.
struct Taken {
    pass: PassNews,
}

impl Taken {
    /// The outputs that are not mirrored any more.
    fn record(self, history: &mut History) -> Vec<Arc<Output>> {
        let PassNews { sequence, is_pass, at, took, changed, objects, .. } = self.pass;
        if !is_pass {
            // The way back leads past it: what it changed is shown as it is.
            if matches!(objects, Objects::All(_)) {
                history.forget_earlier(sequence);
            }
            return changed;
        }
        let nodes = history.node_set(changed.iter().map(|output| output.node()));
        let differences = match objects {
            Objects::Changed(differences) => Some(differences),
            Objects::All(_) => None,
        };
        let (objects, counts) = history::changed(differences.as_deref().unwrap_or_default());
        history.push(PassRecord { sequence, at, took, objects, counts, nodes }, differences);
        changed
    }
}

impl Mirrored {
    /// Takes a pass over. Its outputs are then those of the same nodes before, where there were any.
    fn apply(&mut self, mut pass: PassNews) -> Taken {
        match &mut pass.objects {
            Objects::Changed(differences) => {
                for differences in differences.iter() {
                    self.world.follow(differences);
                    self.index.follow(differences);
                }
            }
            Objects::All(world) => {
                self.world = std::mem::take(world);
                self.index = Index::new(&self.world);
            }
        }
        pass.gone.iter().for_each(|node| drop(self.outputs.remove(node)));
        for output in &mut pass.changed {
            match self.outputs.get_mut(output.node()) {
                Some(known) => std::mem::swap(known, output),
                None => _ = self.outputs.insert(output.node().clone(), Arc::clone(output)),
            }
        }
        self.over_budget = pass.over_budget.take().unwrap_or_else(|| Arc::clone(&self.over_budget));
        self.sequence = pass.sequence;
        Taken { pass }
    }
}

impl PassNews {
    /// How many objects differ; `None`: all of them may.
    fn objects(&self) -> Option<usize> {
        match &self.objects {
            Objects::Changed(differences) => Some(differences.iter().map(|it| it.len()).sum()),
            Objects::All(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
