//! The board: for each node the newest state, which readers see when they look. Latest wins; nobody waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use flock_compiler_core::{Output, Translation, render};
use flock_shared::{NodeName, Revision, Script};
use tokio::sync::watch;

use super::Desired;

/// What one node should have.
#[derive(Debug)]
pub struct Published {
    output: Output,
    script: Script,
    revision: Revision,
    since: SystemTime,
    presence: Presence,
}

/// Whether the cluster has a node: a Node object, or a pod that runs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It has.
    Known,
    /// An agent asks for a node that nothing names: perhaps its name is wrong, and nothing is isolated there.
    Unknown,
}

impl Published {
    fn new(output: Output, presence: Presence) -> Self {
        let rendered = render(&output);
        let since = SystemTime::now();
        Self { output, script: rendered.script, revision: rendered.revision, since, presence }
    }

    /// The name of this state.
    #[must_use]
    pub const fn revision(&self) -> &Revision {
        &self.revision
    }

    /// Since when it is the desired one.
    #[must_use]
    pub const fn since(&self) -> SystemTime {
        self.since
    }

    /// Whether the cluster has such a node.
    #[must_use]
    pub const fn presence(&self) -> Presence {
        self.presence
    }

    /// What was translated, for the debug service.
    #[must_use]
    pub const fn output(&self) -> &Output {
        &self.output
    }

    /// The script that reaches this state from anywhere. It may take milliseconds to render: not for async threads,
    /// nor for thousands of nodes at once.
    #[must_use]
    pub fn full(&self) -> Script {
        self.script.clone()
    }

    /// The size of [`Self::full`] in bytes, if that can be told without rendering it.
    #[must_use]
    pub const fn full_size(&self) -> Option<usize> {
        Some(self.script.bytes().len())
    }

    /// The script that reaches this state from `base`, the node's earlier state, and from no other. `None` when a full
    /// script is smaller or needed. As cheap as the change is small.
    #[must_use]
    pub const fn delta_from(&self, _base: &Self) -> Option<Script> {
        None
    }
}

type Place = watch::Sender<Option<Arc<Published>>>;

/// The newest state of every node.
#[derive(Debug, Default)]
pub(super) struct Board {
    places: BTreeMap<NodeName, Place>,
    /// The newest translation's idea of a node that it does not know.
    elsewhere: Option<Translation>,
}

impl Board {
    /// Publishes a translation: nodes whose output changed get a new state, others keep theirs.
    pub(super) fn publish(&mut self, translation: &Translation) {
        for (node, output) in translation.nodes() {
            let place = self.places.entry(node.clone()).or_insert_with(|| watch::channel(None).0);
            set(place, output, Presence::Known);
        }
        self.places.retain(|node, place| {
            let known = translation.nodes().contains_key(node);
            if !known {
                set(place, &translation.output(node), Presence::Unknown);
            }
            // A node that went away stays as long as somebody listens.
            known || place.receiver_count() > 0
        });
        self.elsewhere = Some(translation.nowhere());
    }

    /// Where to see what `node` should have.
    pub(super) fn subscribe(&mut self, node: NodeName) -> Desired {
        let elsewhere = &self.elsewhere;
        let place = self.places.entry(node).or_insert_with_key(|node| {
            let output = elsewhere.as_ref().map(|translation| translation.output(node));
            watch::channel(output.map(|output| Arc::new(Published::new(output, Presence::Unknown)))).0
        });
        place.subscribe()
    }

    /// Where to see what each known node should have.
    pub(super) fn all(&self) -> BTreeMap<NodeName, Desired> {
        self.places.iter().map(|(node, place)| (node.clone(), place.subscribe())).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

fn set(place: &Place, output: &Output, presence: Presence) {
    let unchanged = place
        .borrow()
        .as_ref()
        .is_some_and(|published| published.output == *output && published.presence == presence);
    if !unchanged {
        place.send_replace(Some(Arc::new(Published::new(output.clone(), presence))));
    }
}
