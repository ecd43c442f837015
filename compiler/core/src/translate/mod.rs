//! From the world to one Output per node, at a cost in proportion to what changes.
//!
//! ```text
//! World ─differences─▶ cluster (pods, namespaces, nodes, owners of addresses)
//!                        ├─ subjects: which rules apply to a pod ─▶ groups ─draft─▶ parts: rule sets, unions, blocks
//!                        └─ peers: which sets a pod is in ────────▶ sets: members
//!                        ├─ expected: who is on the way to a node ─┐
//!                        └─ guards: which blocks a node guards, when, and the known addresses within ─┐
//! parts + sets ─────────────────▶ frames: Output per node that something of this touched ◀──────┘
//! ```
//!
//! A change is applied at once to the indexes and to the members of sets; what it means for groups and nodes is
//! worked out in a pass, so that a burst of changes costs one. The first pass indexes the world as it finds it. Whatever
//! led to a world, its outputs are the same.

mod ahead;
mod attempts;
mod budget;
mod cluster;
mod counts;
mod draft;
mod expected;
mod follow;
mod frames;
mod groups;
mod identify;
mod links;
mod load;
mod lookup;
mod membership;
mod nodes;
mod once;
mod options;
mod owners;
mod parts;
mod pass;
mod peers;
mod plan;
mod problems;
mod refit;
mod registry;
mod select;
mod sets;
mod subjects;
mod tenants;
mod unready;
mod weight;

use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::{NodeName, PodKey};

pub use budget::Budgets;
pub use load::Load;
pub use once::{Translation, translate, translate_with};
pub use options::{Options, UnreadyPods, UnreadyPodsError};
pub use pass::{NodeChange, Pass, Work};

use self::cluster::Cluster;
use self::expected::Expected;
use self::groups::Groups;
use self::links::AddressIndex;
use self::parts::Parts;
use self::peers::PeerIndex;
use self::subjects::Subjects;
use self::unready::Guards;
use crate::change::Change;
use crate::identity::ShortHash;
use crate::output::{Families, Output};
use crate::problem::{self, Problem};
use crate::world::World;

/// A world and its outputs, kept up to date.
#[derive(Debug)]
pub struct Translator {
    world: World,
    cluster: Cluster,
    peers: PeerIndex,
    subjects: Subjects,
    groups: Groups,
    parts: Parts,
    guards: Guards,
    expected: Expected,
    node_addresses: AddressIndex,
    problems: problems::Faulty,
    dirty: Dirty,
    families: Families,
    budgets: Budgets,
    /// The short hash that names are made of.
    names: ShortHash,
}

/// What a pass has to look at.
#[derive(Debug, Default)]
struct Dirty {
    /// There has been no pass yet: it indexes the world and looks at everything.
    all: bool,
    /// Pods to which other rules may apply; some may be gone, or come twice.
    pods: Vec<u32>,
    /// Nodes whose frame may differ; some may come twice.
    nodes: Vec<u32>,
    /// Namespaces that have more or fewer pods, or other policies; some may be gone, or come twice.
    namespaces: Vec<u32>,
    /// Whether an owner of a contested address has changed.
    contested: bool,
    problems: bool,
    /// Addresses that pods have gained or given up; some may come twice.
    moved: Vec<IpAddr>,
}

impl Default for Translator {
    fn default() -> Self {
        Self::new()
    }
}

impl Translator {
    /// An empty world.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    /// An empty world that is translated in the way that these options say.
    #[must_use]
    pub fn with(options: Options) -> Self {
        Self {
            world: World::trusting(options.trust),
            cluster: Cluster::default(),
            peers: PeerIndex::default(),
            subjects: Subjects::default(),
            groups: Groups::default(),
            parts: Parts::new(options.budgets),
            guards: Guards::new(options.unready_pods),
            expected: Expected::default(),
            node_addresses: AddressIndex::default(),
            problems: problems::Faulty::default(),
            dirty: Dirty { all: true, ..Dirty::default() },
            families: Families::default(),
            budgets: options.budgets,
            names: options.names,
        }
    }

    /// The objects.
    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// The output of a node as of the last pass; `None`: nothing names such a node.
    #[must_use]
    pub fn output(&self, node: &NodeName) -> Option<Arc<Output>> {
        self.cluster.node(self.cluster.node_id(node)?)?.output.clone()
    }

    /// The outputs of the nodes of an address's owners, as of the last pass; most often one.
    pub fn outputs_of(&self, address: &IpAddr) -> impl Iterator<Item = &Arc<Output>> {
        let owners = self.cluster.owners_of(address).into_iter();
        owners.filter_map(|pod| self.cluster.node(self.cluster.pod(pod)?.node?)?.output.as_ref())
    }

    /// The output of a node that nothing names, as of the last pass: nothing is isolated there.
    #[must_use]
    pub fn elsewhere(&self, node: NodeName) -> Output {
        Output::empty(node, self.families)
    }

    /// Returns true if, as of the last pass, a node is closed for the sake of a pod that is on its way there, or would be if it
    /// had blocks.
    #[must_use]
    pub fn expects(&self, pod: &PodKey) -> bool {
        let id = self.world.pods().get(pod).and_then(|pod| self.cluster.pod_id(pod));
        id.is_some_and(|id| self.expected.has(id))
    }

    /// What a user should mend, in order, once there has been a pass: faulty objects, contested addresses, policies that
    /// go over a budget, nodes where something passes unjudged.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.of_objects();
        problems.extend(problems::between(&self.cluster));
        problems.extend(problems::of_facts(&self.cluster, &self.world));
        problems.extend(problems::groups_over_budget(self));
        problems.extend(problems::namespaces_over_budget(self));
        problems.extend(problem::of_overdue(self.world.overdue()));
        problems::bounded(problems)
    }

    /// Applies a change to the world; whether anything differs.
    pub fn apply(&mut self, change: Change) -> bool {
        let differences = self.world.apply(change);
        let differs = !differences.is_empty();
        if !self.dirty.all {
            self.follow(differences);
        }
        differs
    }
}
