//! From the world to one Output per node, at a cost in proportion to what changes.
//!
//! ```text
//! World ─differences─▶ Indexes: cluster (pods, namespaces, nodes, owners of addresses)
//!                        ├─ policies: which rules apply to a pod ─▶ groups ─merge─▶ rule sets, unions, blocks
//!                        ├─ peers: which sets a pod is in ────────▶ sets: members
//!                        ├─ expected: who is on the way to a node ─┐
//!                        └─ guards: which blocks a node guards, when, and the known addresses within ─┐
//! rule sets + sets ──────▶ node: Output of each node that something of this touched ◀─────────────────┘
//! ```
//!
//! A change is applied at once to the indexes and to the members of sets; what it means for groups and nodes is
//! worked out in a pass, so that a burst of changes costs one. The first pass indexes the world as it finds it. Whatever
//! led to a world, its outputs are the same.

mod anew;
mod budget;
mod index;
mod indexes;
mod node;
mod once;
mod options;
mod pass;
mod prefetch;
mod problems;
mod rules;
mod sets;

use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::{NodeName, PodKey};

pub use budget::Budgets;
pub use budget::load::Load;
pub use once::{Translation, translate, translate_with};
pub use options::{KeepDrops, KeepDropsError, Options, UnreadyPods, UnreadyPodsError};
pub use pass::{NodeChange, Pass, Work};

use self::anew::Kept;
use self::indexes::Indexes;
use crate::change::Change;
use crate::invariant::{Broken, Watch};
use crate::judge::PodsOverBudget;
use crate::output::Output;
use crate::problem::Problem;
use crate::world::{Applied, Differences, World};

/// A world and the output of each of its nodes, kept up to date.
///
/// ```text
/// apply(Change) ─▶ World ─differences─▶ indexes, members of sets      at once, for each change
/// pass() ───────▶ groups ─▶ rule sets ─▶ nodes ─▶ Pass                 once for a burst of changes
///                                                  ├ changes: nodes with another output, and the delta that leads there
///                                                  └ gone: nodes that nothing names any more
/// ```
///
/// One task owns it. A pass costs what the changes since the pass before reach, not the size of the cluster; the first one
/// looks at everything. What led to a world does not matter: its outputs are those of [`translate`](crate::translate()).
///
/// ```
/// use flock_compiler_core::object::{Lifecycle, Node, Pod, PodNetwork, Policy, PolicyBody, PolicyRules};
/// use flock_compiler_core::{Change, Edit, Selector, Translator};
/// use flock_shared::{NodeName, ObjectKey};
///
/// let mut translator = Translator::new();
/// let worker = NodeName::new("worker-1").unwrap();
/// translator.apply(Change::Node(Edit::Upsert(Node::new(worker.clone()))));
/// translator.apply(Change::Pod(Edit::Upsert(Pod {
///     key: ObjectKey::new("shop", "db").unwrap(),
///     node: Some(worker.clone()),
///     network: PodNetwork::own([[10, 0, 1, 2].into()].into_iter().collect(), None),
///     lifecycle: Lifecycle::Live,
///     // …
/// #     uid: None,
/// #     labels: Default::default(),
/// #     ports: [].into_iter().collect(),
/// #     scheduled: None,
/// #     owner: Default::default(),
/// #     faults: Vec::new(),
/// })));
/// assert_eq!(translator.pass().changes.len(), 1);
///
/// // A policy that selects all pods of its namespace and allows nothing in.
/// let deny = Policy::new(
///     ObjectKey::new("shop", "deny").unwrap(),
///     Selector::everything(),
///     PolicyBody::Understood(PolicyRules { ingress: Some([].into()), egress: None }),
/// );
/// assert!(translator.apply(Change::Policy(Edit::Upsert(deny.clone()))));
/// let pass = translator.pass();
/// assert_eq!(pass.changes[0].after.node(), &worker);
/// assert!(pass.changes[0].body.is_some(), "a delta leads there");
///
/// // The same again makes no difference, so a pass has nothing to do.
/// assert!(!translator.apply(Change::Policy(Edit::Upsert(deny))));
/// assert!(translator.pass().changes.is_empty());
/// ```
#[derive(Debug)]
pub struct Translator {
    world: World,
    indexes: Indexes,
    options: Options,
    /// Notes invariants that turn out to be broken.
    watch: Watch,
    /// What outlives the indexes.
    kept: Kept,
    /// Breaks something once the world is indexed.
    #[cfg(test)]
    plant: Option<fn(&mut Self)>,
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
            indexes: Indexes::new(&options),
            options,
            watch: Watch::new(options.on_break),
            kept: Kept::default(),
            #[cfg(test)]
            plant: None,
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
        let cluster = &self.indexes.cluster;
        // Between two attempts nothing is indexed, and what is published is kept apart.
        let kept = || self.kept.outputs.get(node).cloned();
        let known = || cluster.node(cluster.node_id(node)?)?.output.clone();
        self.watch.over(known).or_else(kept)
    }

    /// The outputs of the nodes of an address's owners, as of the last pass; most often one.
    #[must_use]
    pub fn outputs_of(&self, address: &IpAddr) -> Vec<Arc<Output>> {
        let cluster = &self.indexes.cluster;
        let output = |pod| cluster.node(cluster.pod(pod)?.node?)?.output.clone();
        self.watch.over(|| cluster.owners_of(address).into_iter().filter_map(output).collect())
    }

    /// The output of a node that nothing names, as of the last pass: nothing is isolated there.
    #[must_use]
    pub fn elsewhere(&self, node: NodeName) -> Output {
        Output::empty(node, self.indexes.families)
    }

    /// Returns true if, as of the last pass, a node is closed for the sake of a pod that is on its way there, or would be if it
    /// had blocks.
    #[must_use]
    pub fn expects(&self, pod: &PodKey) -> bool {
        let Indexes { cluster, expected, .. } = &self.indexes;
        let expects = || {
            let id = self.world.pods().get(pod).and_then(|pod| cluster.pod_id(pod));
            id.is_some_and(|id| expected.has(id))
        };
        self.watch.over(expects)
    }

    /// What a user should mend, in order, once there has been a pass: faulty objects, contested addresses, policies that
    /// go over a budget, nodes where something passes unjudged.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.watch.over(|| problems::of(&self.indexes, &self.world))
    }

    /// The pods that are closed because their policies cost more than is allowed, as of the last pass. It looks at every pod
    /// that is on a node or in a group where that is so, and at nothing where nobody is.
    #[must_use]
    pub fn over_budget(&self) -> PodsOverBudget {
        self.watch.over(|| problems::pods_over_budget(&self.indexes))
    }

    /// Applies a change to the world. Returns true if anything differs.
    pub fn apply(&mut self, change: Change) -> bool {
        self.apply_telling(change, |_| ())
    }

    /// The same, which tells what has become of the objects, also of those that differ in nothing that is translated
    /// ([`Difference::is_translated`](crate::world::Difference::is_translated)).
    pub fn apply_telling(&mut self, change: Change, mut tell: impl FnMut(&Differences)) -> bool {
        let Applied { differences, untranslated } = self.world.apply_fully(change);
        let differs = !differences.is_empty();
        [&differences, &untranslated].into_iter().filter(|it| !it.is_empty()).for_each(&mut tell);
        // Nothing is indexed, so there is nothing that could follow: the next pass indexes the world as it finds it.
        if self.indexes.dirty.all {
            self.kept.follow(&differences);
        } else {
            let Self { indexes, world, watch, .. } = self;
            watch.over(|| indexes.follow(differences, world));
        }
        differs
    }

    /// Brings the outputs up to date with the world. Where an invariant turns out to be broken, in this pass or since the
    /// one before, that is done from nothing.
    pub fn pass(&mut self) -> Pass {
        let watch = self.watch.clone();
        let from_nothing = self.indexes.dirty.all;
        let mut broken = watch.take();
        let mut tried = (Pass::default(), Vec::new());
        if broken.is_none() {
            tried = watch.over(|| self.attempt());
            broken = watch.take();
        }
        let Some((mut count, first)) = broken else { return self.kept.complete(tried.0) };
        // What broke may have left any index half-way, so none of them is kept.
        self.start_anew(tried);
        // Where there were no indexes yet, it would come to the same.
        if !from_nothing {
            let (pass, gone) = watch.over(|| self.attempt());
            let Some((more, _)) = watch.take() else {
                let broken = Some(Broken { count, first, is_mended: true });
                return Pass { broken, problems: true, ..self.kept.complete(pass) };
            };
            count += more;
            self.start_anew((pass, gone));
        }
        Pass { broken: Some(Broken { count, first, is_mended: false }), ..Pass::default() }
    }

    /// Has the next pass bring the outputs up to date from nothing. What is published stays until then, and what it changes is
    /// told as of any other pass.
    pub fn start_over(&mut self) {
        // Nothing is indexed yet, so the next pass begins from nothing as it is.
        if !self.indexes.dirty.all {
            self.start_anew((Pass::default(), Vec::new()));
        }
    }

    /// A pass on the condition that no invariant breaks, and the last outputs of the nodes that are gone.
    fn attempt(&mut self) -> (Pass, Vec<Arc<Output>>) {
        let is_first = self.indexes.look_at_new_world(&self.world);
        // Nodes that were known before the translator started again from nothing, and are not any more.
        let unnamed = self.kept.restore(&mut self.indexes.cluster);
        #[cfg(test)]
        self.plant.into_iter().for_each(|plant| plant(self));
        let (mut pass, mut gone) = pass::run(&mut self.indexes, &self.world, is_first);
        gone.extend(unnamed);
        gone.sort_unstable_by(|a, b| a.node().cmp(b.node()));
        pass.gone = gone.iter().map(|output| output.node().clone()).collect();
        (pass, gone)
    }

    /// Drops the indexes. What is published stays.
    fn start_anew(&mut self, (pass, gone): (Pass, Vec<Arc<Output>>)) {
        self.kept.keep(&mut self.indexes, pass, gone);
        self.indexes = Indexes::new(&self.options);
    }
}
