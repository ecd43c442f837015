//! A churn under way: the installation, what happens to it, and what is noted.

use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use flock_compiler_core::{render, translate};
use flock_lab::{Node, Pod, Probe, Protocol, Verdict};
use flock_testkit::{NAMESPACE, NETWORK_POLICY, NODE, POD};
use rand::Rng as _;

use crate::api::Api;
use crate::applied::Applied;
use crate::change::Change;
use crate::compiler::Compiler;
use crate::flows::flows;
use crate::ground::{Ground, NODES};
use crate::judge::Observation;
use crate::kept::Kept;
use crate::objects;
use crate::plan::Plan;
use crate::stage::{Place, Role, places, settle};
use crate::support::process::Process;
use crate::support::table::denied;
use crate::support::wait::wait_until;
use crate::timeline::{State, Timeline, is_conclusive, through};
use crate::traffic::{Record, Traffic};
use crate::words::to_core;
use flock_model::oracle::cluster::Cluster;

/// Steps from one move of the mover to the next.
const STEPS_PER_MOVE: usize = 60;

/// Everything that a churn needs and leaves.
pub(crate) struct Run {
    pub(crate) places: Vec<Place>,
    pub(crate) timeline: Timeline,
    pub(crate) record: Arc<Record>,
    pub(crate) changes: usize,
    pub(crate) moves: usize,
    pub(crate) kept_connections: usize,
    /// What each node's drop rule had counted, now and then.
    pub(crate) drops: Vec<[u64; NODES.len()]>,
    plan: Plan,
    traffic: Vec<Traffic>,
    kept: Option<Kept>,
    pods: Vec<Pod>,
    applied: Applied,
    pub(crate) compiler: Compiler,
    _agents: Vec<Process>,
    api: Api,
    pub(crate) ground: Ground,
}

impl Run {
    /// An installation in its first state, with traffic. `None` where namespaces cannot be made, which is said.
    pub(crate) fn start(tag: &str, seed: u64) -> Option<Self> {
        let ground = Ground::new(tag)?;
        let places = places();
        let pods: Vec<Pod> = places.iter().map(|place| settle(&ground, place, place.node)).collect();
        let mut plan = Plan::new(seed, &places);
        let cluster = plan.beginning();
        let api = Api::start();
        cluster.nodes.iter().for_each(|it| api.put(NODE, objects::node(it)));
        cluster.namespaces.iter().for_each(|it| api.put(NAMESPACE, objects::namespace(it)));
        cluster.pods.iter().for_each(|it| api.put(POD, objects::pod(it)));
        cluster.policies.iter().for_each(|it| api.put(NETWORK_POLICY, objects::policy(it)));
        let kubeconfig = api.server.write_kubeconfig(ground.directory()).unwrap();
        let compiler = Compiler::start(
            // The reference knows of no agents.
            ["--kubeconfig", kubeconfig.to_str().unwrap(), "--unready-pods", "drop"],
            ground.directory(),
        );
        wait_until("the compiler to be ready", || compiler.admin("/readyz").0 == 200);
        let agents = NODES.map(|node| ground.agent(node, &compiler.url(), &[])).into();
        let mut applied = Applied::watch(&compiler.url(), &NODES);
        applied.wait_for(&revisions(&cluster));

        let record = Arc::new(Record::new(flows(plan.random(), &places)));
        let mover = places.iter().find(|place| place.role == Role::Mover).map(|place| place.node);
        let timeline = Timeline::new(State { cluster, mover });
        let kept = Kept::open(&ground, &places, &pods);
        let all = || places.iter().zip(&pods);
        let mut traffic: Vec<_> = all().map(|(place, pod)| Traffic::receive(place, pod, &record)).collect();
        let start =
            |(index, (traffic, pod)): (usize, (&mut Traffic, &Pod))| traffic.send(index, pod, &record);
        traffic.iter_mut().zip(&pods).enumerate().for_each(start);
        Some(Self {
            changes: 0,
            moves: 0,
            kept_connections: kept.count(),
            drops: Vec::new(),
            kept: Some(kept),
            _agents: agents,
            places,
            timeline,
            record,
            plan,
            traffic,
            pods,
            applied,
            compiler,
            api,
            ground,
        })
    }

    /// Changes one thing after the other for this long.
    pub(crate) fn churn(&mut self, length: Duration) {
        let start = Instant::now();
        self.count_drops();
        for step in 1.. {
            if start.elapsed() >= length {
                // Of a slow machine there is no other.
                self.count_drops();
                return;
            }
            if step % STEPS_PER_MOVE == 0 {
                self.move_mover();
                self.count_drops();
            }
            self.step();
            // Now and then nothing happens for a moment, so that verdicts of one state alone are seen too.
            let pause = self.plan.random().random_range(0..40u64).saturating_sub(10);
            thread::sleep(Duration::from_millis(pause));
        }
    }

    fn count_drops(&mut self) {
        self.drops.push(NODES.map(|node| denied(self.ground.node(node), "ingress").unwrap()));
    }

    /// A burst of changes, until all agents have acknowledged what they lead to.
    fn step(&mut self) {
        let State { cluster, mover } = self.timeline.now().clone();
        let mut burst = self.plan.burst(&cluster, mover.unwrap_or_default());
        let (points, wanted) = loop {
            let points = through(&cluster, &burst);
            let revisions: Vec<_> = points.iter().map(|point| revisions(&point.cluster)).collect();
            match revisions.last() {
                Some(last) if is_conclusive(&points, &revisions) => break (points, last.clone()),
                _ => drop(burst.pop()),
            }
        };
        let what = burst.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n    ");
        let states = points.into_iter().map(|point| State { cluster: point.cluster, mover });
        self.timeline.begin(what, states.collect());
        burst.iter().for_each(|change| change.send(self.api.server.store()));
        self.applied.wait_for(&wanted);
        self.timeline.end();
        self.changes += burst.len();
    }

    /// The mover's namespace goes, and one with its addresses comes on the other node. No pod has them meanwhile.
    fn move_mover(&mut self) {
        let index = self.places.iter().position(|place| place.role == Role::Mover).unwrap();
        let place = self.places[index].clone();
        let State { cluster, mover } = self.timeline.now().clone();
        let target = mover.map_or(0, |node| 1 - node);
        let gone = cluster.pods.iter().filter(|pod| pod.addresses.contains(&place.addresses[0]));
        let gone: Vec<_> = gone.map(|pod| Change::RemovePod(pod.namespace, pod.name)).collect();
        for change in gone {
            self.make(&change);
        }
        let cluster = self.timeline.now().cluster.clone();
        let states = [None, Some(target)].map(|mover| State { cluster: cluster.clone(), mover });
        self.timeline.begin(format!("{} moves to {}", place.name, NODES[target]), states.into());
        drop(self.traffic.remove(index));
        self.pods[index].delete().unwrap();
        self.pods[index] = settle(&self.ground, &place, target);
        // Both nodes have found out where it is now. No pod has its addresses, so nobody keeps nodes from them.
        for (node, address) in NODES.iter().flat_map(|node| place.addresses.map(|address| (node, address))) {
            let probe = Probe::new(self.ground.node(node), Protocol::IcmpEcho, address, 0);
            wait_until("the mover to answer", || probe.run().unwrap() == Verdict::Reached);
        }
        let mut traffic = Traffic::receive(&place, &self.pods[index], &self.record);
        traffic.send(index, &self.pods[index], &self.record);
        self.traffic.insert(index, traffic);
        self.timeline.end();
        let pod = self.plan.pod(&place, target);
        self.make(&Change::PutPod(pod));
        self.moves += 1;
    }

    /// One change, until all agents have acknowledged it.
    fn make(&mut self, change: &Change) {
        let State { mut cluster, mover } = self.timeline.now().clone();
        change.apply(&mut cluster);
        let wanted = revisions(&cluster);
        self.timeline.begin(change.to_string(), vec![State { cluster, mover }]);
        change.send(self.api.server.store());
        self.applied.wait_for(&wanted);
        self.timeline.end();
        self.changes += 1;
    }

    /// Ends all traffic; the bytes that came back over kept connections.
    pub(crate) fn end_traffic(&mut self) -> u64 {
        Traffic::end(std::mem::take(&mut self.traffic));
        self.kept.take().map_or(0, Kept::close)
    }

    /// What became of all tries.
    pub(crate) fn observations(&self) -> Vec<Observation> {
        let mut all = self.record.datagrams.observations();
        all.extend_from_slice(&self.record.connects.lock().unwrap_or_else(PoisonError::into_inner));
        all
    }

    /// A node of its own that has loaded the full script of a node.
    pub(crate) fn fresh(&self, node: &str) -> Node {
        let translation = translate(&to_core::world(&self.timeline.now().cluster));
        let script = render(&translation.output(&to_core::node_name(node)));
        let fresh = self.ground.another(&format!("fresh-{node}"));
        fresh.nft(std::str::from_utf8(script.bytes()).unwrap()).unwrap();
        fresh
    }
}

/// What each node should reach.
fn revisions(cluster: &Cluster) -> [String; NODES.len()] {
    let translation = translate(&to_core::world(cluster));
    NODES.map(|node| translation.output(&to_core::node_name(node)).revision().to_string())
}
