//! Output: what one node enforces, before it becomes a table.
//!
//! Everything but the frame itself is shared: a rule set, a union of peers or a set of pods that serves many nodes
//! exists once.

mod frame;
mod links;
mod member_set;
mod rule_set;
mod subjects;
mod unready;

use std::sync::Arc;

use flock_shared::{NodeName, Revision};
use smallvec::SmallVec;

use crate::identity::Name;
use crate::revision::{FrameDigest, SetTree};

pub use frame::{Families, Frame, Isolation, Owners, Subject};
pub use links::{Links, NodeAddresses};
pub use member_set::{MemberSet, Membership, PeerPort, ServicePort, SetDefinition};
pub use rule_set::{Bits, BlockSet, Fingerprint, NamedRanges, Peers, RuleSet, Union};
pub use subjects::Subjects;
pub use unready::{Closing, Unready};

/// What one node enforces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    node: NodeName,
    frame: Arc<Frame>,
    frame_digest: FrameDigest,
    sets: Arc<[Arc<MemberSet>]>,
    tree: SetTree,
    revision: Revision,
    form: Form,
}

/// How an output is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As its objects ask for.
    Normal,
    /// Whoever is isolated is denied everything, in the plainest way: for a node that refuses the normal form.
    Closed,
}

impl Output {
    /// An output of a frame and the sets that its rule sets refer to, in any order.
    #[must_use]
    pub fn new(node: NodeName, frame: Arc<Frame>, mut sets: Vec<Arc<MemberSet>>) -> Self {
        sets.sort_unstable_by(|a, b| a.definition.name.cmp(&b.definition.name));
        let tree = SetTree::of(&sets);
        let frame_digest = FrameDigest::of(&frame);
        let revision = tree.revision(&frame_digest);
        Self { node, frame, frame_digest, sets: sets.into(), tree, revision, form: Form::Normal }
    }

    /// The closed form: a function of the same objects, with a revision of its own.
    #[must_use]
    pub fn closed(&self) -> Self {
        let closed = |isolation: &Isolation| match isolation {
            Isolation::Open => Isolation::Open,
            Isolation::Closed | Isolation::Rules(_) | Isolation::All(_) => Isolation::Closed,
        };
        let subjects = self.frame.subjects.iter().map(|(address, subject)| {
            let [ingress, egress] = [&subject.ingress, &subject.egress].map(closed);
            (*address, Subject::new(ingress, egress, Box::default()))
        });
        // Links stay: they are the node's own, and no tenant's. Which ports are open pods' matters on bridges alone.
        let anchors = match self.frame.links.pod_bridges.is_empty() {
            true => Arc::default(),
            false => Arc::clone(&self.frame.anchors),
        };
        // Closed for good: who attends to the node is a construct that it may be refused for.
        let unready = self.frame.unready.as_deref().map(|unready| {
            let Unready { cidrs, known4, known6, .. } = unready.clone();
            Arc::new(Unready { cidrs, known4, known6, ..Unready::default() })
        });
        let frame = Frame { subjects: subjects.collect(), anchors, unready, ..Frame::clone(&self.frame) };
        let (tree, frame_digest) = (SetTree::of(&[]), FrameDigest::of(&frame));
        let revision = tree.closed_revision(&frame_digest);
        let (node, frame) = (self.node.clone(), Arc::new(frame));
        Self { node, frame, frame_digest, sets: Arc::default(), tree, revision, form: Form::Closed }
    }

    /// How it is laid out.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// The output of a node on which nothing is isolated.
    #[must_use]
    pub fn empty(node: NodeName, families: Families) -> Self {
        Self::new(node, Arc::new(Frame { families, ..Frame::default() }), Vec::new())
    }

    /// The same frame with the sets at some places replaced by newer ones of the same definition.
    #[must_use]
    pub(crate) fn with_sets<'a>(&self, newer: impl IntoIterator<Item = (usize, &'a Arc<MemberSet>)>) -> Self {
        let mut sets: Arc<[Arc<MemberSet>]> = self.sets.iter().cloned().collect();
        let mut changed: SmallVec<[&Name; 4]> = SmallVec::new();
        // Nobody else has them yet.
        let own = Arc::get_mut(&mut sets).unwrap_or_default();
        for (place, set) in newer {
            if let Some(known) = own.get_mut(place) {
                debug_assert_eq!(
                    known.definition.name, set.definition.name,
                    "sets are in the order of the output's"
                );
                *known = Arc::clone(set);
                changed.push(&set.definition.name);
            }
        }
        let tree = self.tree.refreshed(&sets, changed);
        let revision = tree.revision(&self.frame_digest);
        let (node, frame) = (self.node.clone(), Arc::clone(&self.frame));
        let (frame_digest, form) = (self.frame_digest, self.form);
        Self { node, frame, frame_digest, sets, tree, revision, form }
    }

    /// The output of another frame of the same node, which needs the sets of this one without those at some places,
    /// in order, and with others.
    #[must_use]
    pub(crate) fn refitted(&self, frame: Frame, lost: &[usize], gained: &[Arc<MemberSet>]) -> Self {
        let frame_digest = FrameDigest::of(&frame);
        let (mut sets, mut tree) = (Arc::clone(&self.sets), self.tree.clone());
        if !lost.is_empty() || !gained.is_empty() {
            let mut edited = sets.to_vec();
            let gone: SmallVec<[_; 4]> = lost.iter().rev().map(|place| edited.remove(*place)).collect();
            for set in gained {
                let name = &set.definition.name;
                if let Err(place) = edited.binary_search_by(|other| other.definition.name.cmp(name)) {
                    edited.insert(place, Arc::clone(set));
                }
            }
            tree = tree.refreshed(&edited, gone.iter().chain(gained).map(|set| &set.definition.name));
            sets = edited.into();
        }
        let revision = tree.revision(&frame_digest);
        let (node, frame, form) = (self.node.clone(), Arc::new(frame), self.form);
        Self { node, frame, frame_digest, sets, tree, revision, form }
    }

    /// The same output, with the frame of another one if both are equal.
    #[must_use]
    pub(crate) fn sharing_frame(self, other: &Self) -> Self {
        if self.frame_digest == other.frame_digest && self.frame == other.frame {
            Self { frame: Arc::clone(&other.frame), ..self }
        } else {
            self
        }
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &NodeName {
        &self.node
    }

    /// All but the members of sets of pods.
    #[must_use]
    pub const fn frame(&self) -> &Arc<Frame> {
        &self.frame
    }

    /// The sets of pods that rule sets of the frame refer to, ordered by name.
    #[must_use]
    pub fn sets(&self) -> &[Arc<MemberSet>] {
        &self.sets
    }

    /// Whether both have the very same sets. Where they do not, equal ones may be there twice.
    pub(crate) fn shares_sets_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sets, &other.sets)
    }

    /// The set of a definition's name.
    #[must_use]
    pub fn set(&self, name: &Name) -> Option<&Arc<MemberSet>> {
        self.place(name).ok().and_then(|place| self.sets.get(place))
    }

    /// Where the set of a definition's name stands among [`Self::sets`], or would stand.
    pub(crate) fn place(&self, name: &Name) -> Result<usize, usize> {
        self.sets.binary_search_by(|set| set.definition.name.cmp(name))
    }

    /// The name of the state that this output describes: equal for equal frames and members, whatever led there.
    #[must_use]
    pub const fn revision(&self) -> &Revision {
        &self.revision
    }
}
