//! From when a change was observed until the last node that it touches has acknowledged it: bookkeeping, without a clock or
//! any I/O.
//!
//! A node is waited for if its agent has a stream with this replica when the change is published, and for as long as it
//! has. Of nodes without an agent, or whose agent is with another replica, nothing is known here. An acknowledgement of a
//! later state is one of all before it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use flock_shared::NodeName;
use tokio::time::Instant;

use crate::engine::Sequence;

/// A change that takes longer is not waited for any more: it counts as one that took as long as it has. Beyond the largest
/// bucket of the histogram.
pub(super) const LONGEST: Duration = Duration::from_secs(300);

/// So many acknowledgements are waited for in all; when more are due, the oldest changes are given up. One or two MB.
const AWAITED: usize = 131_072;

/// Stands for one stream of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamKey(u64);

/// A change on its way: what one pass has published.
#[derive(Debug)]
struct Change {
    observed: Instant,
    /// How many nodes have not acknowledged it.
    waiting: usize,
    /// When a node has last acknowledged it.
    reached: Option<Instant>,
}

/// A node whose agent has a stream.
#[derive(Debug)]
struct Node {
    stream: StreamKey,
    /// The changes that it has not acknowledged, in order. Those that are not waited for any more may be among them.
    lacks: VecDeque<Sequence>,
}

/// What has ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// How long each change took that has reached its last node, or that is not waited for any more.
    pub(super) took: Vec<Duration>,
    /// How many were given up because too many are on their way.
    pub(super) given_up: u64,
}

/// The changes on their way.
#[derive(Debug)]
pub(super) struct Propagation {
    changes: BTreeMap<Sequence, Change>,
    nodes: HashMap<NodeName, Node>,
    /// The sum of what changes wait for.
    awaited: usize,
    most: usize,
    streams: u64,
}

impl Default for Propagation {
    fn default() -> Self {
        Self { changes: BTreeMap::new(), nodes: HashMap::new(), awaited: 0, most: AWAITED, streams: 0 }
    }
}

impl Propagation {
    /// An agent has opened a stream, which counts instead of its node's earlier one.
    pub(super) fn opened(&mut self, node: &NodeName) -> (StreamKey, Ended) {
        let ended = self.left(node);
        self.streams += 1;
        let stream = StreamKey(self.streams);
        self.nodes.insert(node.clone(), Node { stream, lacks: VecDeque::new() });
        (stream, ended)
    }

    /// A stream has ended. What its node lacks it may get of another replica.
    pub(super) fn closed(&mut self, node: &NodeName, stream: StreamKey) -> Ended {
        match self.nodes.get(node) {
            Some(known) if known.stream == stream => self.left(node),
            // A newer stream of the node has taken its place.
            _ => Ended::default(),
        }
    }

    /// What was observed at a moment is about to be published by a pass, the newest, for these nodes.
    pub(super) fn published<'a>(
        &mut self,
        pass: Sequence,
        observed: Instant,
        nodes: impl IntoIterator<Item = &'a NodeName>,
        now: Instant,
    ) -> Ended {
        let mut waiting = 0;
        for node in nodes {
            if let Some(node) = self.nodes.get_mut(node) {
                node.lacks.push_back(pass);
                waiting += 1;
            }
        }
        if waiting > 0 {
            self.awaited += waiting;
            self.changes.insert(pass, Change { observed, waiting, reached: None });
        }
        self.bound(now)
    }

    /// A node has what a pass has published for it.
    pub(super) fn acknowledged(
        &mut self,
        node: &NodeName,
        stream: StreamKey,
        pass: Sequence,
        now: Instant,
    ) -> Ended {
        let mut ended = Ended::default();
        let Some(node) = self.nodes.get_mut(node).filter(|node| node.stream == stream) else { return ended };
        while let Some(reached) = node.lacks.pop_front_if(|lacked| *lacked <= pass) {
            let Some(change) = self.changes.get_mut(&reached) else { continue };
            change.reached = Some(now);
            self.awaited -= 1;
            change.waiting -= 1;
            if change.waiting == 0 {
                ended.took.push(now.duration_since(change.observed));
                self.changes.remove(&reached);
            }
        }
        ended
    }

    /// A node is not waited for any more.
    fn left(&mut self, node: &NodeName) -> Ended {
        let mut ended = Ended::default();
        for lacked in self.nodes.remove(node).into_iter().flat_map(|node| node.lacks) {
            let Some(change) = self.changes.get_mut(&lacked) else { continue };
            self.awaited -= 1;
            change.waiting -= 1;
            if change.waiting == 0 {
                // The others had it long before this one left. Without others, nobody knows how long it took.
                ended.took.extend(change.reached.map(|reached| reached.duration_since(change.observed)));
                self.changes.remove(&lacked);
            }
        }
        ended
    }

    /// Gives up what takes too long, and what is too much.
    fn bound(&mut self, now: Instant) -> Ended {
        let mut ended = Ended::default();
        let mut oldest_kept = None;
        while let Some(oldest) = self.changes.first_entry() {
            let age = now.duration_since(oldest.get().observed);
            // Where it is the only one it stays, however many nodes it waits for.
            let is_newest = oldest.get().waiting == self.awaited;
            if age >= LONGEST {
                ended.took.push(age);
            } else if self.awaited > self.most && !is_newest {
                ended.given_up += 1;
            } else {
                oldest_kept = Some(*oldest.key());
                break;
            }
            self.awaited -= oldest.remove().waiting;
        }
        if ended != Ended::default() {
            // What is given up is older than all that is kept.
            for node in self.nodes.values_mut() {
                while node
                    .lacks
                    .pop_front_if(|lacked| oldest_kept.is_none_or(|kept| *lacked < kept))
                    .is_some()
                {}
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Scene {
        propagation: Propagation,
        nodes: [NodeName; 3],
        pass: Sequence,
        start: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let nodes = ["a", "b", "c"].map(|name| NodeName::new(name).unwrap());
            let (propagation, pass) = (Propagation::default(), Sequence::default());
            Self { propagation, nodes, pass, start: Instant::now() }
        }

        fn open(&mut self, node: usize) -> StreamKey {
            let (stream, ended) = self.propagation.opened(&self.nodes[node].clone());
            assert_eq!(ended, Ended::default());
            stream
        }

        /// Publishes for nodes, at a second, what was observed a second before; the pass.
        fn publish(&mut self, nodes: &[usize], at: u32) -> (Sequence, Ended) {
            self.pass = self.pass.next();
            let nodes: Vec<_> = nodes.iter().map(|node| self.nodes[*node].clone()).collect();
            let now = self.start + SECOND * at;
            (self.pass, self.propagation.published(self.pass, now - SECOND, &nodes, now))
        }

        /// A node acknowledges a pass at a second; the seconds that changes took which have come to an end.
        fn acknowledge(&mut self, node: usize, stream: StreamKey, pass: Sequence, at: u32) -> Vec<u64> {
            let now = self.start + SECOND * at;
            seconds(&self.propagation.acknowledged(&self.nodes[node].clone(), stream, pass, now))
        }

        fn close(&mut self, node: usize, stream: StreamKey) -> Vec<u64> {
            seconds(&self.propagation.closed(&self.nodes[node].clone(), stream))
        }

        fn is_empty(&self) -> bool {
            let it = &self.propagation;
            it.changes.is_empty() && it.awaited == 0 && it.nodes.values().all(|node| node.lacks.is_empty())
        }
    }

    fn seconds(ended: &Ended) -> Vec<u64> {
        assert_eq!(ended.given_up, 0);
        ended.took.iter().map(Duration::as_secs).collect()
    }

    #[test]
    fn a_change_takes_until_its_last_node_has_it() {
        let mut scene = Scene::new();
        let [a, b] = [0, 1].map(|node| scene.open(node));
        let (pass, _) = scene.publish(&[0, 1, 2], 1);
        assert_eq!(scene.acknowledge(0, a, pass, 2), [0; 0]);
        assert_eq!(scene.acknowledge(0, a, pass, 3), [0; 0], "once more says nothing");
        assert_eq!(scene.acknowledge(1, b, pass, 5), [5], "and c has no agent");
        assert!(scene.is_empty());
    }

    #[test]
    fn a_later_state_is_one_of_all_before_it() {
        let mut scene = Scene::new();
        let [a, b] = [0, 1].map(|node| scene.open(node));
        let (first, _) = scene.publish(&[0, 1], 1);
        let (second, _) = scene.publish(&[0], 2);
        let (third, _) = scene.publish(&[0, 1], 3);
        assert_eq!(scene.acknowledge(1, b, third, 4), [0; 0]);
        assert_eq!(scene.acknowledge(0, a, first, 5), [5], "the others are not reached with the first");
        assert_eq!(scene.acknowledge(0, a, third, 6), [5, 4]);
        assert!(second < third && scene.is_empty());
    }

    #[test]
    fn who_leaves_is_not_waited_for() {
        let mut scene = Scene::new();
        let [a, b] = [0, 1].map(|node| scene.open(node));
        let (first, _) = scene.publish(&[0, 1], 1);
        scene.publish(&[1], 2);
        assert_eq!(scene.acknowledge(0, a, first, 3), [0; 0]);
        assert_eq!(scene.close(1, b), [3], "what a took; what only b was to have is not known");
        assert!(scene.is_empty());
        assert_eq!(scene.close(1, b), [0; 0]);
    }

    #[test]
    fn an_older_stream_has_no_say() {
        let mut scene = Scene::new();
        let older = scene.open(0);
        scene.publish(&[0], 1);
        let newer = scene.open(0);
        assert!(scene.is_empty(), "what was due before the newer stream is not known of it");
        let (pass, _) = scene.publish(&[0], 2);
        assert_eq!(scene.close(0, older), [0; 0]);
        assert_eq!(scene.acknowledge(0, older, pass, 3), [0; 0]);
        assert_eq!(scene.acknowledge(0, newer, pass, 4), [3]);
    }

    #[test]
    fn what_takes_too_long_counts_as_long_as_it_took() {
        let mut scene = Scene::new();
        let [a, b] = [0, 1].map(|node| scene.open(node));
        scene.publish(&[0], 1);
        let longest = u32::try_from(LONGEST.as_secs()).unwrap();
        let (pass, ended) = scene.publish(&[0, 1], longest);
        assert_eq!(seconds(&ended), [u64::from(longest)]);
        assert_eq!(scene.propagation.nodes[&scene.nodes[0]].lacks, [pass]);
        assert_eq!(scene.acknowledge(0, a, pass, longest + 1), [0; 0]);
        assert_eq!(scene.acknowledge(1, b, pass, longest + 1), [2]);
        assert!(scene.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut scene = Scene::new();
        scene.propagation.most = 4;
        let streams = [0, 1, 2].map(|node| scene.open(node));
        scene.publish(&[0, 1, 2], 1);
        assert_eq!(scene.publish(&[0], 2).1, Ended::default());
        let (pass, ended) = scene.publish(&[1, 2], 3);
        assert_eq!(ended, Ended { took: Vec::new(), given_up: 1 }, "the oldest goes");
        assert_eq!(scene.propagation.awaited, 3);
        let held: usize = scene.propagation.nodes.values().map(|node| node.lacks.len()).sum();
        assert_eq!(held, 3, "nothing of it stays");
        assert_eq!(scene.acknowledge(1, streams[1], pass, 4), [0; 0]);
        // One change alone is never too much.
        scene.propagation.most = 1;
        let (_, ended) = scene.publish(&[0, 1, 2], 5);
        assert_eq!((ended.given_up, scene.propagation.awaited), (2, 3));
    }
}
