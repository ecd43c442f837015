//! What the agents say of themselves. It feeds status and metrics, never translation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use flock_compiler_core::Unjudged;
use flock_compiler_core::object::Facts;
use flock_proto::{Ack, Hello, NodeFacts, Outcome};
use flock_shared::{NodeName, Revision};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::{Published, Sequence, Versions};
use crate::facts;

/// What the agent of one node has said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentStatus {
    /// The newest stream, while it is open.
    pub stream: Option<StreamId>,
    /// Version of the agent.
    pub agent_version: String,
    /// Version of its nft.
    pub nft_version: String,
    /// What stands in the kernel, and since when that is known.
    pub applied: Option<(Revision, SystemTime)>,
    /// How long the newest successful update took.
    pub took: Option<Duration>,
    /// The newest failure since the last success.
    pub failure: Option<Failure>,
    /// How often since its start it has found the table changed by something else, once it has said so.
    pub drifts: Option<u32>,
    /// What the newest hello, or a message since, said of the node.
    pub facts: Option<Arc<Facts>>,
    /// The pass of this process whose state it has acknowledged, or a later one of its node's.
    pub acknowledged: Option<Sequence>,
    /// Why it is sent the closed form, in nft's words; `None` while it is not.
    pub closed: Option<String>,
}

/// What is said where the words are not known.
const EARLIER: &str = "refused on an earlier stream";

/// An update that did not reach the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The update's revision, if it could be told.
    pub revision: Option<Revision>,
    /// What became of the update.
    pub outcome: Outcome,
    /// The agent's message.
    pub error: String,
    /// When it was acknowledged.
    pub at: SystemTime,
}

/// Tells streams of one node apart; a later one has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u64);

/// The status of all agents.
#[derive(Debug, Default)]
pub struct Fleet {
    agents: Mutex<BTreeMap<NodeName, Agent>>,
    /// Positions that this replica has not reached, and since when they have been asked for.
    out_of_reach: Mutex<BTreeMap<NodeName, (Versions, Instant)>>,
    streams: AtomicU64,
}

/// One agent. Whoever watches it is woken by its own news only.
type Agent = Arc<watch::Sender<AgentStatus>>;

/// An open stream; it counts as its node's until a newer one comes or it is dropped.
#[derive(Debug)]
pub struct Stream {
    agent: Agent,
    node: NodeName,
    id: StreamId,
    drifts: u32,
}

impl Fleet {
    /// An agent has opened a stream.
    pub fn open(&self, hello: &Hello) -> Stream {
        let id = StreamId(self.streams.fetch_add(1, Ordering::Relaxed));
        let mut agents = self.lock();
        let agent = Arc::clone(agents.entry(hello.node.clone()).or_default());
        let mut drifts = 0;
        // While the lock is held, so that the status is not forgotten in between.
        agent.send_modify(|status| {
            drifts = status.found(hello.drifts);
            status.stream = Some(id);
            // It may have started anew, with an older table.
            status.acknowledged = None;
            status.agent_version.clone_from(&hello.agent_version);
            status.nft_version.clone_from(&hello.nft_version);
            status.facts = facts::of_hello(hello).map(Arc::new);
            if status.applied.as_ref().map(|(revision, _)| revision) != hello.applied.as_ref() {
                status.applied = hello.applied.clone().map(|revision| (revision, SystemTime::now()));
            }
        });
        drop(agents);
        Stream { agent, node: hello.node.clone(), id, drifts }
    }

    /// An agent has applied `wanted`, which this replica has not reached. Since when the agent has asked for something
    /// that still is out of reach; `is_still` tells that of what it asked for earlier.
    pub fn out_of_reach(
        &self,
        node: &NodeName,
        wanted: &Versions,
        is_still: impl FnOnce(&Versions) -> bool,
    ) -> Instant {
        let mut positions = lock(&self.out_of_reach);
        let now = (wanted.clone(), Instant::now());
        let earliest = positions.entry(node.clone()).or_insert_with(|| now.clone());
        if !is_still(&earliest.0) {
            *earliest = now;
        }
        earliest.1
    }

    /// An agent can be served.
    pub fn within_reach(&self, node: &NodeName) {
        lock(&self.out_of_reach).remove(node);
    }

    /// The status of every agent that is known.
    #[must_use]
    pub fn all(&self) -> BTreeMap<NodeName, AgentStatus> {
        self.lock().iter().map(|(node, agent)| (node.clone(), agent.borrow().clone())).collect()
    }

    /// The status of one node's agent, now and later; the default while nothing has been heard of it.
    #[must_use]
    pub fn watch(&self, node: &NodeName) -> watch::Receiver<AgentStatus> {
        self.lock().entry(node.clone()).or_default().subscribe()
    }

    /// Forgets the agents of nodes that are `gone`, unless they have a stream or somebody watches them.
    pub fn forget(&self, gone: impl Fn(&NodeName) -> bool) {
        self.lock().retain(|node, agent| {
            agent.receiver_count() > 0 || agent.borrow().stream.is_some() || !gone(node)
        });
        lock(&self.out_of_reach).retain(|node, _| !gone(node));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeName, Agent>> {
        lock(&self.agents)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Everything is replaced field by field without panicking in between: a poisoned lock is still sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stream {
    /// The agent has acknowledged an update; how often it has found its table changed since it was heard last.
    pub fn acknowledged(&self, ack: &Ack) -> u32 {
        let mut drifts = 0;
        self.agent.send_modify(|status| {
            drifts = status.found(ack.drifts);
            status.acknowledged(ack, SystemTime::now());
        });
        drifts
    }

    /// What stands on the node is what this pass has published for it.
    pub fn reached(&self, sequence: Sequence) {
        self.agent.send_if_modified(|status| {
            let is_news = status.stream == Some(self.id) && status.acknowledged < Some(sequence);
            if is_news {
                status.acknowledged = Some(sequence);
            }
            is_news
        });
    }

    /// Whether the agent is sent the closed form, and why; the words are empty if they went to an earlier stream.
    pub fn closed(&self, words: Option<&str>) {
        self.agent.send_if_modified(|status| match (words, &status.closed) {
            (None, None) => false,
            (Some(words), Some(known)) if words.is_empty() || words == known => false,
            (words, _) => {
                let unknown = |words: &str| if words.is_empty() { EARLIER } else { words }.to_owned();
                status.closed = words.map(unknown);
                true
            }
        });
    }

    /// The agent says what its node is like. An older stream than the newest of the node has no say any more.
    pub fn said(&self, facts: &NodeFacts) {
        self.agent.send_if_modified(|status| {
            let guard = status.facts.as_deref().map(facts::Guard::from).unwrap_or_default();
            let facts = Some(Arc::new(facts::of_node(self.node.clone(), facts, guard)));
            let is_news = status.stream == Some(self.id) && status.facts != facts;
            if is_news {
                status.facts = facts;
            }
            is_news
        });
    }

    /// What the agent's newest words say of its node.
    #[must_use]
    pub fn facts(&self) -> Option<Arc<Facts>> {
        self.agent.borrow().facts.clone()
    }

    /// How often the agent had found its table changed when the stream was opened, since the one before.
    #[must_use]
    pub const fn drifts(&self) -> u32 {
        self.drifts
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.agent.send_if_modified(|status| status.stream.take_if(|stream| *stream == self.id).is_some());
    }
}

impl AgentStatus {
    /// Why what passes on its node is not judged, where this is published for it; empty if it is judged, or nobody says.
    #[must_use]
    pub fn unjudged(&self, published: Option<&Published>) -> Vec<Unjudged> {
        let none = BTreeSet::new();
        let bridges = published.map_or(&none, |it| &it.output().frame().links.pod_bridges);
        self.facts.as_ref().map(|facts| facts.unjudged(bridges)).unwrap_or_default()
    }

    /// Takes down how often the agent has found its table changed since its start; how many of that are news. What an
    /// agent brings that has never been heard of, another replica may have counted.
    fn found(&mut self, drifts: u32) -> u32 {
        match self.drifts.replace(drifts) {
            None => 0,
            // It has started anew since.
            Some(before) if drifts < before => drifts,
            Some(before) => drifts - before,
        }
    }

    fn acknowledged(&mut self, ack: &Ack, now: SystemTime) {
        match &ack.revision {
            Some(revision) if ack.outcome.is_success() => {
                // A table that was put back says nothing of the newer script that nft still refuses.
                let put_back = self.applied.as_ref().is_some_and(|(applied, _)| applied == revision);
                if !put_back || self.failure.as_ref().is_some_and(|f| f.revision.as_ref() == Some(revision)) {
                    self.failure = None;
                }
                self.took = Some(ack.took);
                if !put_back {
                    self.applied = Some((revision.clone(), now));
                }
            }
            revision => {
                let revision = revision.clone();
                self.failure =
                    Some(Failure { revision, outcome: ack.outcome, error: ack.error.clone(), at: now });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flock_proto::Position;
    use flock_shared::{ScriptHash, Superseded};

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
        assert_eq!(stream.drifts(), 0, "another replica has counted them");
        assert_eq!([5, 6, 6, 9].map(|drifts| stream.acknowledged(&told(drifts))), [0, 1, 0, 3]);
        let stream = fleet.open(&Hello { drifts: 11, ..hello("n") });
        assert_eq!(stream.drifts(), 2, "found without a stream");
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
