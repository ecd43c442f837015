//! What the agents say of themselves. It feeds status and metrics, never translation.

mod acknowledged;
mod status;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use flock_compiler_core::nft::read::GRAMMAR_LEAST;
use flock_proto::Hello;
use flock_shared::NodeName;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::{Sequence, Versions};
use crate::facts;

pub use self::acknowledged::{NodeAcks, Standing};
pub use self::status::{AgentStatus, NodeProgress, StreamId, UpdateFailure};
pub use self::stream::OpenStream;

use self::stream::AgentEntry;

/// The status of all agents.
#[derive(Debug)]
pub struct Fleet {
    /// Tells this process from every other one.
    instance: String,
    agents: Mutex<BTreeMap<NodeName, AgentEntry>>,
    acks: Mutex<BTreeMap<NodeName, Arc<Mutex<NodeAcks>>>>,
    /// Positions that this replica has not reached, and since when they have been asked for.
    out_of_reach: Mutex<BTreeMap<NodeName, (Versions, Instant)>>,
    streams: AtomicU64,
}

impl Default for Fleet {
    fn default() -> Self {
        // Each has random keys.
        let instance = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let (agents, acks, out_of_reach) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { instance, agents, acks, out_of_reach, streams: AtomicU64::default() }
    }
}

impl Fleet {
    /// Tells this process from every other one.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Returns true if the agent of a node has a stream.
    #[must_use]
    pub fn serves(&self, node: &NodeName) -> bool {
        self.agents.lock().get(node).is_some_and(|agent| agent.borrow().stream.is_some())
    }

    /// How far a node is with what a pass has published for it.
    #[must_use]
    pub fn progress(&self, node: &NodeName, sequence: Sequence) -> NodeProgress {
        self.agents.lock().get(node).map_or(NodeProgress::Away, |agent| agent.borrow().progress(sequence))
    }

    /// The nodes whose agents are here, and are sent what their nodes should have.
    #[must_use]
    pub fn here(&self) -> BTreeSet<NodeName> {
        let agents = self.agents.lock();
        let here = agents.iter().filter(|(_, agent)| agent.borrow().is_here());
        here.map(|(node, _)| node.clone()).collect()
    }

    /// An agent has opened a stream.
    pub fn open(&self, hello: &Hello) -> OpenStream {
        let id = StreamId(self.streams.fetch_add(1, Ordering::Relaxed));
        let mut agents = self.agents.lock();
        let agent = Arc::clone(agents.entry(hello.node.clone()).or_default());
        let mut drifts = 0;
        // While the lock is held, so that the status is not forgotten in between.
        agent.send_modify(|status| {
            drifts = status.found(hello.drifts);
            status.stream = Some(id);
            status.stream_since = Some(SystemTime::now());
            // What it lacked before it was away it may have got of another replica.
            status.lacks_since = None;
            // It may have started anew, with an older table.
            status.acknowledged = None;
            status.agent_version.clone_from(&hello.agent_version);
            status.is_too_old = hello.grammar < GRAMMAR_LEAST;
            status.nft_version.clone_from(&hello.nft_version);
            status.facts = facts::of_hello(hello).map(Arc::new);
            if status.applied.as_ref().map(|(revision, _)| revision) != hello.applied.as_ref() {
                status.applied = hello.applied.clone().map(|revision| (revision, SystemTime::now()));
            }
        });
        drop(agents);
        let acks = Arc::clone(self.acks.lock().entry(hello.node.clone()).or_default());
        // What was found while there was no stream has been put right by now.
        let has_changed = acks.lock().opened(hello.applied.as_ref()) || drifts > 0;
        OpenStream { agent, acks, node: hello.node.clone(), id, drifts, has_changed }
    }

    /// An agent has applied `wanted`, which this replica has not reached. Since when the agent has asked for something
    /// that still is out of reach; `is_still` tells that of what it asked for earlier.
    pub fn out_of_reach(
        &self,
        node: &NodeName,
        wanted: &Versions,
        is_still: impl FnOnce(&Versions) -> bool,
    ) -> Instant {
        // The earliest that is still out of reach decides: an agent that comes back again and again must not begin anew.
        let mut positions = self.out_of_reach.lock();
        let now = (wanted.clone(), Instant::now());
        let earliest = positions.entry(node.clone()).or_insert_with(|| now.clone());
        if !is_still(&earliest.0) {
            *earliest = now;
        }
        earliest.1
    }

    /// An agent can be served.
    pub fn within_reach(&self, node: &NodeName) {
        self.out_of_reach.lock().remove(node);
    }

    /// What a node has acknowledged to this replica.
    #[must_use]
    pub fn acks(&self, node: &NodeName) -> Option<NodeAcks> {
        let acks = self.acks.lock().get(node).map(Arc::clone);
        acks.map(|acks| acks.lock().clone())
    }

    /// The status of every agent that is known.
    #[must_use]
    pub fn all(&self) -> BTreeMap<NodeName, AgentStatus> {
        self.agents.lock().iter().map(|(node, agent)| (node.clone(), agent.borrow().clone())).collect()
    }

    /// The status of one node's agent, now and later; the default while nothing has been heard of it.
    #[must_use]
    pub fn watch(&self, node: &NodeName) -> watch::Receiver<AgentStatus> {
        self.agents.lock().entry(node.clone()).or_default().subscribe()
    }

    /// Forgets the agents of nodes that are `gone`, unless they have a stream or somebody watches them.
    pub fn forget(&self, gone: impl Fn(&NodeName) -> bool) {
        // Who watches an entry would not hear of the node's next stream, which would have another one.
        self.agents.lock().retain(|node, agent| {
            agent.receiver_count() > 0 || agent.borrow().stream.is_some() || !gone(node)
        });
        self.out_of_reach.lock().retain(|node, _| !gone(node));
        // An open stream holds its own.
        self.acks.lock().retain(|node, acks| Arc::strong_count(acks) > 1 || !gone(node));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flock_compiler_core::Unjudged;
    use flock_proto::{Ack, NodeFacts, Outcome, Position};
    use flock_shared::{Revision, ScriptHash, Superseded};

    use super::stream::EARLIER;
    use super::*;

    fn hello(node: &str) -> Hello {
        let node = NodeName::new(node).unwrap();
        let (agent_version, nft_version) = ("1".into(), "2".into());
        let (position, superseded) = (Position::default(), Superseded::default());
        let (facts, refused) = (None, Vec::new());
        Hello {
            node,
            agent_version,
            nft_version,
            applied: None,
            position,
            drifts: 0,
            superseded,
            facts,
            refused,
            grammar: 1,
            cni: false,
            drops: false,
        }
    }

    fn ack(outcome: Outcome) -> Ack {
        let revision = Some(Revision::of(ScriptHash::of(b"")));
        Ack { revision, outcome, error: String::new(), took: Duration::from_millis(1), drifts: 0 }
    }

    #[test]
    fn a_newer_stream_outlives_an_older_one() {
        let fleet = Fleet::default();
        let (older, newer) = (fleet.open(&hello("n")), fleet.open(&hello("n")));
        drop(older);
        assert_eq!(fleet.all().values().next().unwrap().stream, Some(newer.id));
        drop(newer);
        assert_eq!(fleet.all().values().next().unwrap().stream, None);
    }

    #[test]
    fn a_node_is_behind_while_its_agent_is_here_and_has_not_acknowledged() {
        let fleet = Fleet::default();
        let first = Sequence::default().next();
        let progress = |node: &str| fleet.progress(&NodeName::new(node).unwrap(), first);
        let stream = fleet.open(&Hello { grammar: GRAMMAR_LEAST, ..hello("n") });
        let _old = fleet.open(&Hello { grammar: GRAMMAR_LEAST - 1, ..hello("old") });
        let all = ["n", "old", "none"];
        assert_eq!(all.map(progress), [NodeProgress::Behind, NodeProgress::Away, NodeProgress::Away]);
        stream.agent.send_modify(|status| status.acknowledged = Some(first));
        assert_eq!(progress("n"), NodeProgress::Reached);
        drop(stream);
        assert_eq!(progress("n"), NodeProgress::Away);
    }

    #[test]
    fn news_of_one_agent_wake_only_those_who_watch_it() {
        let fleet = Fleet::default();
        let [one, other] = ["one", "other"].map(|node| fleet.open(&hello(node)));
        let [one_watched, other_watched] =
            ["one", "other"].map(|node| fleet.watch(&NodeName::new(node).unwrap()));
        one.acknowledged(&ack(Outcome::Applied));
        assert!(one_watched.has_changed().unwrap());
        assert!(!other_watched.has_changed().unwrap());
        drop(other);
    }

    #[test]
    fn drifts_are_counted_once() {
        let fleet = Fleet::default();
        let told = |drifts| Ack { drifts, ..ack(Outcome::Applied) };
        let stream = fleet.open(&Hello { drifts: 5, ..hello("n") });
        assert_eq!((stream.drifts(), stream.has_changed()), (0, false), "another replica has counted them");
        assert_eq!([5, 6, 6, 9].map(|drifts| stream.acknowledged(&told(drifts))), [0, 1, 0, 3]);
        let stream = fleet.open(&Hello { drifts: 11, ..hello("n") });
        assert_eq!((stream.drifts(), stream.has_changed()), (2, true), "found without a stream");
        let stream = fleet.open(&Hello { drifts: 1, ..hello("n") });
        assert_eq!(
            (stream.drifts(), stream.acknowledged(&told(1))),
            (1, 0),
            "by an agent that has started anew"
        );
        assert_eq!(fleet.all().values().next().unwrap().drifts, Some(1));
    }

    #[test]
    fn words_of_a_closed_node_outlive_its_stream() {
        let fleet = Fleet::default();
        let closed = || fleet.all().values().next().unwrap().closed.clone();
        let stream = fleet.open(&hello("n"));
        stream.closed(Some(""));
        assert_eq!(closed().as_deref(), Some(EARLIER));
        stream.closed(Some("exit 1"));
        let stream = fleet.open(&hello("n"));
        stream.closed(Some(""));
        assert_eq!(closed().as_deref(), Some("exit 1"));
        stream.closed(None);
        assert_eq!(closed(), None);
    }

    #[test]
    fn facts_are_those_of_the_newest_words() {
        let fleet = Fleet::default();
        let refused = vec!["no".to_owned()];
        let stream = fleet.open(&Hello { refused, ..hello("n") });
        let reasons = |fleet: &Fleet| -> Vec<_> {
            let status = fleet.all().into_values().next().unwrap();
            status.unjudged(None).iter().map(Unjudged::reason).collect()
        };
        assert_eq!(reasons(&fleet), ["refused"]);
        let mut watched = fleet.watch(&NodeName::new("n").unwrap());
        watched.mark_unchanged();
        stream.said(&NodeFacts::default());
        assert!(!watched.has_changed().unwrap(), "no news");
        let ipvs = NodeFacts { ipvs: true, ..NodeFacts::default() };
        stream.said(&ipvs);
        assert!(watched.has_changed().unwrap());
        let newer = fleet.open(&hello("n"));
        stream.said(&ipvs);
        assert_eq!(reasons(&fleet), [""; 0], "an older stream has no say");
        newer.said(&ipvs);
        drop((stream, newer));
        assert_eq!(reasons(&fleet), ["ipvs"], "also without a stream");
        drop(fleet.open(&hello("n")));
        assert_eq!(reasons(&fleet), [""; 0], "an agent that says nothing of its node");
    }

    #[test]
    fn agents_of_nodes_that_are_gone_are_forgotten_unless_somebody_cares() {
        let fleet = Fleet::default();
        let connected = fleet.open(&hello("connected"));
        drop(fleet.open(&hello("gone")));
        drop(fleet.open(&hello("stays")));
        let watched = fleet.watch(&NodeName::new("watched").unwrap());
        fleet.forget(|node| node.as_str() != "stays");
        let names: Vec<_> = fleet.all().into_keys().map(|node| node.to_string()).collect();
        assert_eq!(names, ["connected", "stays", "watched"]);
        drop((connected, watched));
    }
}
