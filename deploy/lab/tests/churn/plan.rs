//! What changes next: a seeded random walk through clusters.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::change::Change;
use crate::ground::NODES;
use crate::policies::{self, NAMESPACES, PORT_NAMES, ROLE, kept};
use crate::stage::{Place, Role, nodes};
use flock_model::oracle::cluster::{Cluster, ContainerPort, Namespace, Phase, Pod, Text};

/// Policies at most, without the kept ones.
const POLICIES: usize = 10;
/// Changes that come at once, at most.
const BURST: usize = 4;

/// A source of changes.
pub(crate) struct Plan {
    random: SmallRng,
    places: Vec<Place>,
    /// Pods ever made: each has a name of its own.
    pods: usize,
}

impl Plan {
    pub(crate) fn new(seed: u64, places: &[Place]) -> Self {
        Self { random: SmallRng::seed_from_u64(seed), places: places.to_vec(), pods: 0 }
    }

    pub(crate) const fn random(&mut self) -> &mut SmallRng {
        &mut self.random
    }

    /// A pod on every place, and some policies.
    pub(crate) fn beginning(&mut self) -> Cluster {
        let mut cluster = Cluster { nodes: nodes(), ..Cluster::default() };
        for name in NAMESPACES {
            let labels = policies::namespace_labels(&mut self.random);
            cluster.namespaces.push(Namespace { name, labels });
            cluster.policies.push(kept(name));
        }
        for place in self.places.clone() {
            let node = place.node;
            cluster.pods.push(self.pod(&place, node));
        }
        for _ in 0..POLICIES / 2 {
            self.new_policy().apply(&mut cluster);
        }
        cluster
    }

    /// The next changes, one or a few. `mover` is the node where the mover's namespace is.
    pub(crate) fn burst(&mut self, cluster: &Cluster, mover: usize) -> Vec<Change> {
        let mut cluster = cluster.clone();
        let length = if self.random.random_bool(0.6) { 1 } else { self.random.random_range(2..=BURST) };
        let mut burst = Vec::new();
        while burst.len() < length {
            for change in self.next(&cluster, mover) {
                change.apply(&mut cluster);
                burst.push(change);
            }
        }
        burst
    }

    fn next(&mut self, cluster: &Cluster, mover: usize) -> Vec<Change> {
        let random = &mut self.random;
        let churned: Vec<_> = cluster.policies.iter().filter(|policy| policy.name != "kept").collect();
        match random.random_range(0..100) {
            0..25 if churned.len() < POLICIES => vec![self.new_policy()],
            0..30 => vec![self.edited_policy(cluster)],
            30..45 => {
                let some = churned.choose(random);
                some.map(|policy| Change::RemovePolicy(policy.namespace, policy.name)).into_iter().collect()
            }
            45..60 => self.relabelled(cluster).into_iter().collect(),
            60..68 => {
                let mut namespace = cluster.namespaces.choose(random).unwrap().clone();
                namespace.labels = policies::namespace_labels(random);
                vec![Change::PutNamespace(namespace)]
            }
            _ => self.turnover(cluster, mover),
        }
    }

    fn new_policy(&mut self) -> Change {
        let addresses: Vec<_> = self.places.iter().flat_map(|place| place.addresses).collect();
        Change::PutPolicy(policies::policy(&mut self.random, &addresses))
    }

    /// Another content for one that is there.
    fn edited_policy(&mut self, cluster: &Cluster) -> Change {
        let new = self.new_policy();
        let old = cluster.policies.iter().filter(|policy| policy.name != "kept").collect::<Vec<_>>();
        match (new, old.choose(&mut self.random)) {
            (Change::PutPolicy(mut new), Some(old)) => {
                (new.namespace, new.name) = (old.namespace, old.name);
                Change::PutPolicy(new)
            }
            (new, _) => new,
        }
    }

    /// Other labels; a keeper stays one.
    fn relabelled(&mut self, cluster: &Cluster) -> Option<Change> {
        let mut pod = cluster.pods.choose(&mut self.random)?.clone();
        let role = pod.labels.get(ROLE.0).copied();
        pod.labels = policies::pod_labels(&mut self.random);
        pod.labels.extend(role.map(|role| (ROLE.0, role)));
        Some(Change::PutPod(pod))
    }

    /// A pod goes, comes, ends, or hands its address over.
    fn turnover(&mut self, cluster: &Cluster, mover: usize) -> Vec<Change> {
        let churned: Vec<_> = self.places.iter().filter(|place| place.role != Role::Keeper).collect();
        let place = (*churned.choose(&mut self.random).unwrap()).clone();
        let node = if place.role == Role::Mover { mover } else { place.node };
        let here: Vec<&Pod> =
            cluster.pods.iter().filter(|pod| pod.addresses.contains(&place.addresses[0])).collect();
        let Some(&old) = here.choose(&mut self.random) else {
            return vec![Change::PutPod(self.pod(&place, node))];
        };
        let gone = Change::RemovePod(old.namespace, old.name);
        if here.len() > 1 {
            return vec![gone];
        }
        match self.random.random_range(0..10) {
            0..3 => vec![gone],
            3..5 => vec![gone, Change::PutPod(self.pod(&place, node))],
            5..7 => {
                let going = Pod { deleting: true, ..old.clone() };
                vec![Change::PutPod(going), Change::PutPod(self.pod(&place, node)), gone]
            }
            7 => vec![Change::PutPod(Pod { phase: Phase::Succeeded, ..old.clone() })],
            // Two live pods with one address, the other one perhaps on the wrong node.
            _ => {
                let node = self.random.random_range(0..NODES.len());
                vec![Change::PutPod(self.pod(&place, node))]
            }
        }
    }

    /// A new pod on a place.
    pub(crate) fn pod(&mut self, place: &Place, node: usize) -> Pod {
        self.pods += 1;
        let name: Text = format!("{}-{}", place.name, self.pods).leak();
        let random = &mut self.random;
        let mut labels = policies::pod_labels(random);
        if place.role == Role::Keeper {
            labels.extend([ROLE]);
        }
        let mut ports = Vec::new();
        for (name, protocol, numbers) in PORT_NAMES {
            if random.random_bool(0.8) {
                ports.push(ContainerPort { name, protocol, number: *numbers.choose(random).unwrap() });
            }
        }
        Pod {
            namespace: NAMESPACES.choose(random).unwrap(),
            name,
            node: Some(NODES[node]),
            labels,
            host_network: false,
            deleting: false,
            phase: Phase::Running,
            addresses: place.addresses.into(),
            ports,
            link: "",
            interface: None,
        }
    }
}
