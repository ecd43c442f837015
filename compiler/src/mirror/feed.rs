//! What the engine tells the mirror after each pass. Telling costs the engine what has changed, and never a wait.
//!
//! What changes in objects and matters to no rule comes with the next pass, or by itself where there is none to come.
//!
//! A mirror that falls behind is not told more and more: what waits is dropped for a copy of the whole world.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flock_compiler_core::judge::PodsOverBudget;
use flock_compiler_core::world::Differences;
use flock_compiler_core::{Output, World};
use flock_shared::NodeName;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::engine::Sequence;

/// Objects that may wait, in all: beyond that a copy of the maps is cheaper than the way there.
const WAITING: usize = 100_000;

/// One pass, as it was published; or what has become of objects without one.
#[derive(Debug)]
pub(crate) struct PassNews {
    /// The pass; of what comes without one, the one before.
    pub(crate) sequence: Sequence,
    /// Whether it is a pass.
    pub(crate) is_pass: bool,
    pub(crate) at: SystemTime,
    pub(crate) took: Duration,
    /// What nodes should have that differs from before.
    pub(crate) changed: Vec<Arc<Output>>,
    /// Nodes that nothing names any more.
    pub(crate) gone: Vec<NodeName>,
    /// The pods that are closed because their policies cost more than is allowed; `None`: those of the pass before.
    pub(crate) over_budget: Option<Arc<PodsOverBudget>>,
    pub(crate) objects: Objects,
}

/// What became of the objects since the pass before.
#[derive(Debug)]
pub(crate) enum Objects {
    /// This, in order.
    Changed(Vec<Differences>),
    /// These are all of them; what led there is not told.
    All(Box<World>),
}

/// Between the engine and the mirror.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    passes: Vec<PassNews>,
    objects: usize,
}

impl Feed {
    /// Waits for news, and takes them, in order.
    pub(super) async fn take(&self) -> Vec<PassNews> {
        loop {
            let queue = std::mem::take(&mut *self.queue.lock());
            if !queue.passes.is_empty() {
                return queue.passes;
            }
            self.news.notified().await;
        }
    }
}

/// The engine's end.
#[derive(Debug)]
pub(crate) struct FeedWriter {
    feed: Arc<Feed>,
    /// What has changed since the pass that was told last; `None`: it is not known, and the next pass tells all objects.
    noted: Option<Vec<Differences>>,
    objects: usize,
    /// Whether a pass is to come, for something of this is translated.
    awaits_pass: bool,
}

impl FeedWriter {
    pub(super) const fn new(feed: Arc<Feed>) -> Self {
        // Nothing is noted yet, so the first pass hands over a copy of the world.
        Self { feed, noted: None, objects: 0, awaits_pass: true }
    }

    /// Takes down what a change came to.
    pub(crate) fn note(&mut self, differences: &Differences) {
        self.awaits_pass |= differences.is_translated();
        // A copy of the world is due, which holds what differs since.
        let Some(noted) = &mut self.noted else { return };
        self.objects += differences.len();
        if self.objects > WAITING {
            self.noted = None;
        } else {
            noted.push(differences.clone());
        }
    }

    /// Tells of a pass that is published.
    pub(crate) fn pass(
        &mut self,
        (sequence, took): (Sequence, Duration),
        (changed, gone): (Vec<Arc<Output>>, Vec<NodeName>),
        over_budget: Option<PodsOverBudget>,
        world: &World,
    ) {
        self.awaits_pass = false;
        let over_budget = over_budget.map(Arc::new);
        let objects = Objects::Changed(Vec::new());
        let at = SystemTime::now();
        self.tell(PassNews { sequence, is_pass: true, at, took, changed, gone, over_budget, objects }, world);
    }

    /// Tells what has become of objects since a pass, if there is anything, and no other pass is to come that will.
    pub(crate) fn without_pass(&mut self, sequence: Sequence, world: &World) {
        if self.awaits_pass || self.objects == 0 {
            return;
        }
        let news = PassNews {
            sequence,
            is_pass: false,
            at: SystemTime::now(),
            took: Duration::ZERO,
            changed: Vec::new(),
            gone: Vec::new(),
            over_budget: None,
            objects: Objects::Changed(Vec::new()),
        };
        self.tell(news, world);
    }

    /// Tells news, with the objects that are noted.
    fn tell(&mut self, mut news: PassNews, world: &World) {
        let count = std::mem::take(&mut self.objects);
        let noted = self.noted.replace(Vec::new());
        // Only the engine adds, so it cannot have become longer when this is pushed.
        let fits = self.feed.queue.lock().objects + count <= WAITING;
        news.objects = match noted.filter(|_| fits) {
            Some(differences) => Objects::Changed(differences),
            // Not under the lock, for it takes milliseconds.
            None => Objects::All(Box::new(world.clone())),
        };
        let mut queue = self.feed.queue.lock();
        if !fits {
            // What nodes should have is still told, and the way there no longer.
            for pass in &mut queue.passes {
                pass.objects = Objects::Changed(Vec::new());
            }
            queue.objects = 0;
        }
        queue.objects += count;
        queue.passes.push(news);
        drop(queue);
        self.feed.news.notify_one();
    }
}
