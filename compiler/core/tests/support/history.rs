//! Long random histories: batches of changes that wander between clusters.

use flock_compiler_core::change::Object;
use flock_compiler_core::object::Overdue;
use flock_compiler_core::{Change, Edit};

use super::dice::Dice;
use super::to_core;
use flock_model::oracle::cluster::{Cluster, Node};

/// A walk from cluster to cluster, so that the world is a mixture of two at most times.
pub(crate) struct Walk<'a> {
    clusters: &'a [Cluster],
    place: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(clusters: &'a [Cluster]) -> Self {
        Self { clusters, place: 0 }
    }

    /// The next few changes: they bring objects of the cluster ahead into the world, or take some out of it; now and
    /// then one is a listing that leaves objects out.
    pub(crate) fn changes(&mut self, dice: &mut Dice) -> Vec<Change> {
        let (from, to) = (self.cluster(0), self.cluster(1));
        self.place += usize::from(dice.roll(12) == 0);
        changes(from, to, dice)
    }

    fn cluster(&self, ahead: usize) -> &'a Cluster {
        &self.clusters[(self.place + ahead) % self.clusters.len()]
    }
}

fn changes(from: &Cluster, to: &Cluster, dice: &mut Dice) -> Vec<Change> {
    let mut changes = Vec::new();
    for _ in 0..=dice.roll(6) {
        let cluster = if dice.roll(3) == 0 { from } else { to };
        macro_rules! edit {
            ($kind:ident, $list:expr, $convert:expr) => {{
                let list = &$list;
                match dice.roll(12) {
                    0 => {
                        let kept: Vec<_> = list.iter().filter(|_| dice.roll(3) > 0).map($convert).collect();
                        changes.push(Change::$kind(Edit::Replace(kept)));
                    }
                    roll if !list.is_empty() => {
                        let object = $convert(&list[dice.roll(list.len())]);
                        changes.push(Change::$kind(if roll < 4 {
                            Edit::Delete(object.key().clone())
                        } else {
                            Edit::Upsert(object)
                        }));
                    }
                    _ => {}
                }
            }};
        }
        match dice.roll(12) {
            // The clock, of which no object knows: who is not waited for any more, or is again.
            11 => {
                let mut all: Vec<Overdue> =
                    cluster.pods.iter().map(|pod| Overdue::Pod(to_core::pod(pod).key)).collect();
                let namespaces = cluster.pods.iter().filter_map(|pod| {
                    let node = to_core::node_name(pod.node?);
                    Some(Overdue::Namespace(node, to_core::pod(pod).key.namespace))
                });
                all.extend(namespaces.collect::<Vec<_>>());
                if let Some(one) = all.get(dice.roll(all.len().max(1))).cloned() {
                    let is_over = dice.roll(2) == 0;
                    let edit = if is_over { Edit::Upsert(one) } else { Edit::Delete(one) };
                    changes.push(Change::Overdue(edit));
                }
            }
            0 => edit!(Node, cluster.nodes, to_core::node),
            // What the agent of one node says, whose bridges may be in the blocks of another one.
            10 => {
                let number = dice.roll(100);
                let other = cluster.nodes.get(number % cluster.nodes.len().max(1));
                let blocks = other.map(|node| node.pod_cidrs.clone()).unwrap_or_default();
                edit!(Facts, cluster.nodes, |node: &Node| to_core::facts(node.name, &blocks, number));
            }
            1 | 2 => edit!(Namespace, cluster.namespaces, to_core::namespace),
            3..=6 => edit!(Pod, cluster.pods, to_core::pod),
            _ => edit!(Policy, cluster.policies, to_core::policy),
        }
    }
    changes
}
