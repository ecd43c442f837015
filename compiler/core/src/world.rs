//! The world: every object that a source has reported, and the facts of nodes that their agents tell.
//!
//! One task owns it. `apply` is the only way in and says what differs; translation follows those differences. What CNI did
//! for a pod is part of the pod: it is looked up when the pod comes, and again when its node's `NodePods` or blocks change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::{NamespaceName, NodeName, ObjectKey, ObjectName, PodKey, PolicyKey};

use crate::change::{Change, Edit, Object};
use crate::collections::parallel;
use crate::invariant::bug;
use crate::object::{
    Attachment, Facts, HostInterface, Namespace, Node, NodePods, Overdue, Owner, Pod, PodNetwork, Policy,
};

/// One object before and after a change. The two are equal only among [`Applied::untranslated`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<T> {
    /// As it was; `None`: it is new.
    pub before: Option<Arc<T>>,
    /// As it is; `None`: it is gone.
    pub after: Option<Arc<T>>,
}

impl<T: PartialEq> Difference<T> {
    /// Returns true if a rule may depend on what differs.
    #[must_use]
    pub fn is_translated(&self) -> bool {
        self.before != self.after
    }
}

impl<T> Difference<T> {
    /// The object as it is, or was.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<T>> {
        let newest = self.after.as_ref().or(self.before.as_ref());
        if newest.is_none() {
            bug!("a difference between no object and none");
        }
        newest
    }
}

/// What a change did to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Objects that differ: translation follows these.
    pub differences: Differences,
    /// Objects of the same kind that are equal to what they were and say something else in what is
    /// [`Untranslated`](crate::object::Untranslated): nothing follows from these, and whoever shows objects has to have them.
    pub untranslated: Differences,
}

/// What became of objects of a kind, ordered by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Differences {
    /// To nodes, and to their pods: whether an address may be one of theirs depends on a node's blocks.
    Nodes(Vec<Difference<Node>>, Vec<Difference<Pod>>),
    /// To namespaces.
    Namespaces(Vec<Difference<Namespace>>),
    /// To pods.
    Pods(Vec<Difference<Pod>>),
    /// To policies.
    Policies(Vec<Difference<Policy>>),
    /// To what CNI did on nodes, and to their pods.
    NodePods(Vec<Difference<NodePods>>, Vec<Difference<Pod>>),
    /// To facts of nodes.
    Facts(Vec<Difference<Facts>>),
    /// To who is waited for.
    Overdue(Vec<Difference<Overdue>>),
}

impl Differences {
    /// Returns true if the objects are as they were.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true if a rule may depend on any of it.
    #[must_use]
    pub fn is_translated(&self) -> bool {
        fn any<T: PartialEq>(all: &[Difference<T>]) -> bool {
            all.iter().any(Difference::is_translated)
        }
        match self {
            Self::Nodes(all, pods) => any(all) || any(pods),
            Self::Namespaces(all) => any(all),
            Self::Pods(all) => any(all),
            Self::Policies(all) => any(all),
            Self::NodePods(all, pods) => any(all) || any(pods),
            Self::Facts(all) => any(all),
            Self::Overdue(all) => any(all),
        }
    }

    /// How many objects differ.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Nodes(all, pods) => all.len() + pods.len(),
            Self::Namespaces(all) => all.len(),
            Self::Pods(all) => all.len(),
            Self::Policies(all) => all.len(),
            Self::NodePods(all, pods) => all.len() + pods.len(),
            Self::Facts(all) => all.len(),
            Self::Overdue(all) => all.len(),
        }
    }
}

/// A side of a difference.
#[derive(Debug, Clone, Copy)]
enum Side {
    Before,
    After,
}

impl Side {
    const fn of<T>(self, difference: &Difference<T>) -> &Option<Arc<T>> {
        match self {
            Self::Before => &difference.before,
            Self::After => &difference.after,
        }
    }
}

/// What an edit did to the objects of a kind.
#[derive(Debug)]
struct Edited<T> {
    differences: Vec<Difference<T>>,
    untranslated: Vec<Difference<T>>,
}

impl<T> Edited<T> {
    const fn of(differences: Vec<Difference<T>>) -> Self {
        Self { differences, untranslated: Vec::new() }
    }

    fn into(self, of: fn(Vec<Difference<T>>) -> Differences) -> Applied {
        Applied { differences: of(self.differences), untranslated: of(self.untranslated) }
    }
}

/// Objects of one kind by key, and whether the kind has been listed.
#[derive(Debug, Clone)]
struct Listing<T: Object> {
    objects: BTreeMap<T::Key, Arc<T>>,
    listed: bool,
}

impl<T: Object> Default for Listing<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listed: false }
    }
}

impl<T: Object> Listing<T> {
    fn apply(&mut self, edit: Edit<T>) -> Edited<T> {
        match edit {
            Edit::Upsert(object) => {
                let key = object.key().clone();
                // Equal in all that rules depend on: at most what is told of it is taken over, and no pass follows.
                if let Some(known) = self.objects.get_mut(&key).filter(|known| ***known == object) {
                    let mut edited = Edited::of(Vec::new());
                    if known.differs_untranslated(&object) {
                        let after = Arc::new(object);
                        let before = Some(std::mem::replace(known, Arc::clone(&after)));
                        edited.untranslated.push(Difference { before, after: Some(after) });
                    }
                    return edited;
                }
                let after = Arc::new(object);
                let before = self.objects.insert(key, Arc::clone(&after));
                Edited::of(vec![Difference { before, after: Some(after) }])
            }
            Edit::Delete(key) => {
                let before = self.objects.remove(&key).into_iter();
                Edited::of(before.map(|before| Difference { before: Some(before), after: None }).collect())
            }
            Edit::Replace(objects) => self.replace(objects),
        }
    }

    /// Takes over one side of each difference.
    fn turn(&mut self, differences: &[Difference<T>], side: impl Fn(&Difference<T>) -> &Option<Arc<T>>) {
        for difference in differences {
            let Some(known) = difference.newest() else { continue };
            match side(difference) {
                Some(object) => self.objects.insert(object.key().clone(), Arc::clone(object)),
                None => self.objects.remove(known.key()),
            };
        }
    }

    /// Objects that did not change stay the values that others share.
    fn replace(&mut self, objects: Vec<T>) -> Edited<T> {
        self.listed = true;
        let keyed = objects.into_iter().map(|object| (object.key().clone(), Arc::new(object)));
        let mut listed: Vec<(T::Key, Arc<T>)> = keyed.collect();
        // In parts on several cores: the map's own stable sort then only has to merge them.
        parallel::sort_parts(&mut listed, |(a, _), (b, _)| a.cmp(b));
        let listed: BTreeMap<T::Key, Arc<T>> = listed.into_iter().collect();
        if self.objects.is_empty() {
            self.objects = listed;
            return Edited::of(all(&self.objects));
        }
        let mut before = std::mem::take(&mut self.objects);
        let (mut differences, mut untranslated) = (Vec::with_capacity(listed.len()), Vec::new());
        self.objects = listed
            .into_iter()
            .map(|(key, object)| match before.remove(&key) {
                Some(known) if known == object && known.differs_untranslated(&object) => {
                    untranslated.push(Difference { before: Some(known), after: Some(Arc::clone(&object)) });
                    (key, object)
                }
                Some(known) if known == object => (key, known),
                known => {
                    differences.push(Difference { before: known, after: Some(Arc::clone(&object)) });
                    (key, object)
                }
            })
            .collect();
        differences.extend(before.into_values().map(|gone| Difference { before: Some(gone), after: None }));
        Edited { differences, untranslated }
    }
}

/// Pods of one workload mostly lie side by side, for their names begin with its own: what names it is kept once.
fn share_owner(pod: &mut Pod, other: &Owner) {
    if *pod.owner == *other {
        pod.owner.0.clone_from(other);
    }
}

/// Objects that are all new.
fn all<K, T>(objects: &BTreeMap<K, Arc<T>>) -> Vec<Difference<T>> {
    objects.values().map(|object| Difference { before: None, after: Some(Arc::clone(object)) }).collect()
}

/// Every object that a source has reported.
#[derive(Debug, Clone, Default)]
pub struct World {
    nodes: Listing<Node>,
    namespaces: Listing<Namespace>,
    pods: Listing<Pod>,
    policies: Listing<Policy>,
    node_pods: Listing<NodePods>,
    facts: Listing<Facts>,
    overdue: Listing<Overdue>,
    trust: Trust,
}

/// What is believed of what CNI says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trust {
    /// Whether a pod may have an address outside of its node's blocks, as with CNIs that take no notice of them.
    pub any_address: bool,
    /// Whether a pod's interface is the one that CNI names, and no other.
    pub interfaces: bool,
}

impl World {
    /// An empty world that believes so much of what CNI says.
    #[must_use]
    pub fn trusting(trust: Trust) -> Self {
        Self { trust, ..Self::default() }
    }

    /// Applies a change; what differs from before.
    pub fn apply(&mut self, change: Change) -> Differences {
        self.apply_fully(change).differences
    }

    /// Applies a change; what differs from before, also in what no rule depends on.
    pub fn apply_fully(&mut self, change: Change) -> Applied {
        match change {
            Change::Node(edit) => {
                let Edited { differences, .. } = self.nodes.apply(edit);
                // A node's blocks decide which of the addresses that CNI gave are believed.
                let pods = self.review_pods_of(differences.iter().filter_map(|difference| {
                    let cidrs = |node: &Option<Arc<Node>>| node.as_ref().map(|node| node.pod_cidrs.clone());
                    let name = &difference.after.as_ref().or(difference.before.as_ref())?.name;
                    (cidrs(&difference.before) != cidrs(&difference.after)).then(|| name.clone())
                }));
                let untranslated = Differences::Nodes(Vec::new(), Vec::new());
                Applied { differences: Differences::Nodes(differences, pods), untranslated }
            }
            Change::Namespace(edit) => self.namespaces.apply(edit).into(Differences::Namespaces),
            Change::Pod(mut edit) => {
                match &mut edit {
                    Edit::Upsert(pod) => {
                        // Before it is compared: what is known has CNI's part, so an event without it would always
                        // differ.
                        self.look_up(pod);
                        let before = self.pods.objects.range(..=&pod.key).next_back();
                        before.into_iter().for_each(|(_, before)| share_owner(pod, &before.owner));
                    }
                    // Owners are shared within what a core looks at.
                    Edit::Replace(pods) => parallel::for_each_part(pods, |pods| {
                        let mut last = Owner::Nobody;
                        for pod in pods {
                            share_owner(pod, &last);
                            last.clone_from(&pod.owner);
                            self.look_up(pod);
                        }
                    }),
                    Edit::Delete(_) => {}
                }
                self.pods.apply(edit).into(Differences::Pods)
            }
            Change::Policy(edit) => self.policies.apply(edit).into(Differences::Policies),
            Change::NodePods(edit) => {
                let Edited { differences, .. } = self.node_pods.apply(edit);
                // Behind the objects themselves, for the pods are looked up in what these say now.
                let pods = self.review_pods_in(&differences);
                let untranslated = Differences::NodePods(Vec::new(), Vec::new());
                Applied { differences: Differences::NodePods(differences, pods), untranslated }
            }
            Change::Facts(edit) => self.facts.apply(edit).into(Differences::Facts),
            Change::Overdue(edit) => self.overdue.apply(edit).into(Differences::Overdue),
        }
    }

    /// Goes the way of another world, of which this is a copy: of both the objects are the same values. Twice is as good as
    /// once.
    pub fn follow(&mut self, differences: &Differences) {
        self.turn(differences, Side::After);
    }

    /// Goes a step back on the way of another world, of which this is a copy.
    pub fn rewind(&mut self, differences: &Differences) {
        self.turn(differences, Side::Before);
    }

    fn turn(&mut self, differences: &Differences, side: Side) {
        match differences {
            Differences::Nodes(nodes, pods) => {
                self.nodes.turn(nodes, |it| side.of(it));
                self.pods.turn(pods, |it| side.of(it));
            }
            Differences::Namespaces(all) => self.namespaces.turn(all, |it| side.of(it)),
            Differences::Pods(all) => self.pods.turn(all, |it| side.of(it)),
            Differences::Policies(all) => self.policies.turn(all, |it| side.of(it)),
            Differences::NodePods(node_pods, pods) => {
                self.node_pods.turn(node_pods, |it| side.of(it));
                self.pods.turn(pods, |it| side.of(it));
            }
            Differences::Facts(all) => self.facts.turn(all, |it| side.of(it)),
            Differences::Overdue(all) => self.overdue.turn(all, |it| side.of(it)),
        }
    }

    /// Adds to a pod what CNI did for it.
    fn look_up(&self, pod: &mut Pod) {
        let found = self.attachment_of(pod).map(Arc::new);
        let PodNetwork::Own { interface, attachment, .. } = &mut pod.network else { return };
        if self.trust.interfaces {
            *interface = match found.as_deref() {
                Some(Attachment::Attached { interface, .. }) => {
                    interface.clone().map(HostInterface::Computed)
                }
                Some(Attachment::Detached) | None => None,
            };
        }
        *attachment = found;
    }

    fn attachment_of(&self, pod: &Pod) -> Option<Attachment> {
        // Without a UID the sandbox could be that of an earlier pod of the same name.
        let (node, uid) = (pod.node.as_ref()?, pod.uid.as_ref()?);
        let found = self.node_pods.objects.get(node)?.of(&pod.key, uid)?;
        Some(match found {
            Attachment::Attached { addresses, interface } => {
                let believed = addresses.iter().copied().filter(|address| self.may_have(node, *address));
                Attachment::Attached { addresses: believed.collect(), interface }
            }
            Attachment::Detached => Attachment::Detached,
        })
    }

    /// The addresses that CNI is said to have given pods of `node` and that are not believed, in the order of the sandboxes.
    pub fn disbelieved<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = (&'a PodKey, IpAddr)> {
        let sandboxes = self.node_pods.objects.get(node).into_iter().flat_map(|it| it.sandboxes());
        let said = sandboxes.flat_map(|sandbox| match &sandbox.attachment {
            Attachment::Attached { addresses, .. } => {
                addresses.iter().map(|at| (&sandbox.pod, *at)).collect()
            }
            Attachment::Detached => Vec::new(),
        });
        said.filter(|(_, address)| !self.may_have(node, *address))
    }

    /// Returns true if a pod on `node` may have this address: the node has no blocks of its own, or the address is in one.
    #[must_use]
    pub fn may_have(&self, node: &NodeName, address: IpAddr) -> bool {
        let blocks = self.nodes.objects.get(node).map(|node| &node.pod_cidrs);
        // A node whose object has not come has no blocks to say no by; its pods are reviewed once it comes.
        self.trust.any_address
            || blocks
                .is_none_or(|blocks| blocks.is_empty() || blocks.iter().any(|block| block.contains(address)))
    }

    /// Looks up again what CNI did for the pods that these objects name or named.
    fn review_pods_in(&mut self, differences: &[Difference<NodePods>]) -> Vec<Difference<Pod>> {
        // At a start what CNI did is mostly listed before the pods are, which are looked up as they come.
        if self.pods.objects.is_empty() {
            return Vec::new();
        }
        let mut keys = BTreeSet::new();
        for Difference { before, after } in differences {
            let [before, after] = [before, after].map(|it| it.as_ref().map_or(&[][..], |it| it.sandboxes()));
            // Both are in order, and most of one is in the other.
            let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
            loop {
                match (old.peek(), new.peek()) {
                    (None, None) => break,
                    (Some(a), Some(b)) if a == b => {
                        old.next();
                        new.next();
                    }
                    (Some(a), Some(b)) if (&a.pod, &a.uid) > (&b.pod, &b.uid) => {
                        keys.extend(new.next().map(|it| it.pod.clone()));
                    }
                    (Some(_), _) => keys.extend(old.next().map(|it| it.pod.clone())),
                    (None, Some(_)) => keys.extend(new.next().map(|it| it.pod.clone())),
                }
            }
        }
        self.review(keys)
    }

    /// Looks up again what CNI did for the pods of these nodes.
    fn review_pods_of(&mut self, nodes: impl Iterator<Item = NodeName>) -> Vec<Difference<Pod>> {
        let named = nodes.filter_map(|node| self.node_pods.objects.get(&node));
        let keys = named.flat_map(|it| it.sandboxes().iter().map(|sandbox| sandbox.pod.clone())).collect();
        self.review(keys)
    }

    fn review(&mut self, keys: BTreeSet<PodKey>) -> Vec<Difference<Pod>> {
        let mut differences = Vec::new();
        for key in keys {
            // CNI may have done something for a pod that is not listed yet. It is looked up when the pod comes.
            let Some(known) = self.pods.objects.get(&key) else { continue };
            let mut pod = Pod::clone(known);
            self.look_up(&mut pod);
            differences.extend(self.pods.apply(Edit::Upsert(pod)).differences);
        }
        differences
    }

    /// Returns true if every kind has been listed once. A partial world is not policy.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        // Facts and who is overdue are not waited for: agents and the engine tell them, and no source lists them.
        self.nodes.listed
            && self.namespaces.listed
            && self.pods.listed
            && self.policies.listed
            && self.node_pods.listed
    }

    /// The nodes, by name.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeMap<NodeName, Arc<Node>> {
        &self.nodes.objects
    }

    /// The namespaces, by name.
    #[must_use]
    pub const fn namespaces(&self) -> &BTreeMap<NamespaceName, Arc<Namespace>> {
        &self.namespaces.objects
    }

    /// The pods, by key.
    #[must_use]
    pub const fn pods(&self) -> &BTreeMap<PodKey, Arc<Pod>> {
        &self.pods.objects
    }

    /// The pods of a namespace, by name; the pods of others are not looked at.
    pub fn pods_of<'a>(&'a self, namespace: &'a NamespaceName) -> impl Iterator<Item = &'a Arc<Pod>> {
        within(&self.pods.objects, namespace)
    }

    /// Returns true if there is such a namespace: it has an object, or a pod or policy that says that it is there.
    #[must_use]
    pub fn has_namespace(&self, namespace: &NamespaceName) -> bool {
        self.namespaces.objects.contains_key(namespace)
            || self.pods_of(namespace).next().is_some()
            || within(&self.policies.objects, namespace).next().is_some()
    }

    /// The network policies, by key.
    #[must_use]
    pub const fn policies(&self) -> &BTreeMap<PolicyKey, Arc<Policy>> {
        &self.policies.objects
    }

    /// The network policies of a namespace, by name; those of others are not looked at.
    pub fn policies_of<'a>(&'a self, namespace: &'a NamespaceName) -> impl Iterator<Item = &'a Arc<Policy>> {
        within(&self.policies.objects, namespace)
    }

    /// What CNI did on nodes, by the name of the node.
    #[must_use]
    pub const fn node_pods(&self) -> &BTreeMap<NodeName, Arc<NodePods>> {
        &self.node_pods.objects
    }

    /// The facts of nodes, by the name of the node, which may be one that no object names.
    #[must_use]
    pub const fn facts(&self) -> &BTreeMap<NodeName, Arc<Facts>> {
        &self.facts.objects
    }

    /// Who is not waited for any more, in order.
    pub fn overdue(&self) -> impl Iterator<Item = &Overdue> {
        self.overdue.objects.keys()
    }

    /// Returns true if a pod is to be waited for: it is on its way, and not for too long.
    #[must_use]
    pub fn awaits(&self, pod: &Pod) -> bool {
        let overdue = &self.overdue.objects;
        // Nearly always nobody is overdue, and no key has to be made to look that up.
        pod.is_on_its_way()
            && (overdue.is_empty() || {
                let of_pod = || Overdue::Pod(pod.key.clone());
                let of_namespace =
                    |node: &NodeName| Overdue::Namespace(node.clone(), pod.key.namespace.clone());
                !overdue.contains_key(&of_pod())
                    && !pod.node.as_ref().map(of_namespace).is_some_and(|it| overdue.contains_key(&it))
            })
    }

    /// Every node that has an object or a pod.
    #[must_use]
    pub fn node_names(&self) -> BTreeSet<&NodeName> {
        self.nodes().keys().chain(self.pods().values().filter_map(|pod| pod.node.as_ref())).collect()
    }
}

/// The objects of a namespace, by name.
fn within<'a, T>(
    objects: &'a BTreeMap<ObjectKey, Arc<T>>,
    namespace: &'a NamespaceName,
) -> impl Iterator<Item = &'a Arc<T>> {
    // No name comes before this one.
    let first = ObjectName::new("0").ok().map(|name| ObjectKey { namespace: namespace.clone(), name });
    let rest = first.into_iter().flat_map(|first| objects.range(first..));
    rest.take_while(|(key, _)| key.namespace == *namespace).map(|(_, object)| object)
}
