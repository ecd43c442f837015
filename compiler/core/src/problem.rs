//! Problems: what a user should mend, what was found and what is done about it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::{NamespaceName, NodeName, PodKey};

use crate::object::{Direction, Facts, Fault, InterfaceName, Node, NodePods, Overdue, Pod, Policy};

/// Something that a user should mend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// Kind, namespace and name, such as `NetworkPolicy default/web`; empty if no object could be told.
    pub object: String,
    /// The namespace of the object: who may read what is there may read of the problem, so it names nothing of another
    /// one. `None` if the object is in none, or could not be told.
    pub namespace: Option<NamespaceName>,
    /// Where the object came from: a file, `kubernetes`, or the `agent` of a node; `None` if the problem is between objects.
    pub origin: Option<Arc<str>>,
    /// Path of the field; empty if the problem is about the whole object.
    pub field: String,
    /// What was found and what was expected.
    pub message: String,
    /// What is done about it.
    pub consequence: Consequence,
}

impl Problem {
    /// All names of [`Self::kind`].
    pub const KINDS: [&'static str; 9] = [
        "policy_not_understood",
        "over_budget",
        "field_left_out",
        "input_not_readable",
        "address_contested",
        "not_judged",
        "not_awaited",
        "not_listed",
        "told",
    ];

    /// A short name for what kind of problem it is, for labels of metrics: one of [`Self::KINDS`].
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.consequence {
            // What is wrong with an object by itself has an origin; what several come to together has none.
            Consequence::Isolated if self.origin.is_some() => "policy_not_understood",
            Consequence::Isolated | Consequence::NamespaceIsolated => "over_budget",
            Consequence::LeftOut => "field_left_out",
            Consequence::PreviousKept => "input_not_readable",
            Consequence::AllOwnersMustAllow => "address_contested",
            Consequence::NotJudged => "not_judged",
            Consequence::NotAwaited => "not_awaited",
            Consequence::NotListed => "not_listed",
            Consequence::Told => "told",
        }
    }
}

/// What is done about a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consequence {
    /// The policy's pods are isolated and it allows nothing.
    Isolated,
    /// The namespace's pods are isolated in the directions of its policies, which allow nothing.
    NamespaceIsolated,
    /// The field is left out: a port does not match, an address or interface owns nothing, a block is not guarded.
    LeftOut,
    /// A flow passes only if it would pass for every owner of the address.
    AllOwnersMustAllow,
    /// Each is dealt with as those that are listed.
    NotListed,
    /// What passes in this way is not judged.
    NotJudged,
    /// The namespace's pods do not close a node while they are on their way there.
    NotAwaited,
    /// Nothing: it is told.
    Told,
    /// The input's last good objects stay in force; nothing is published if it never had any.
    PreviousKept,
}

impl Consequence {
    /// Returns true if the objects themselves are bad input (and not merely at odds with each other).
    #[must_use]
    pub const fn is_invalid_input(self) -> bool {
        !matches!(self, Self::AllOwnersMustAllow | Self::NotJudged | Self::NotAwaited | Self::Told)
    }
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Isolated => "the pods it selects are isolated and it allows nothing",
            Self::NamespaceIsolated => {
                "the namespace's pods are isolated in the directions of its policies, which allow nothing"
            }
            Self::LeftOut => "the field is left out",
            Self::AllOwnersMustAllow => "a flow passes only if it would pass for every owner",
            Self::NotListed => "each is dealt with as those that are listed",
            Self::NotJudged => "what passes in this way is not judged",
            Self::NotAwaited => "its pods may be open there until their addresses are known",
            Self::Told => "nothing is done about it",
            Self::PreviousKept => "the last good objects stay in force",
        })
    }
}

impl Problem {
    /// A problem of a namespace as a whole.
    pub(crate) fn of_namespace(name: &NamespaceName, message: String, consequence: Consequence) -> Self {
        Self {
            object: format!("Namespace {name}"),
            namespace: Some(name.clone()),
            origin: None,
            field: String::new(),
            message,
            consequence,
        }
    }
}

/// So many nodes, of which one is named.
pub(crate) fn nodes(first: &NodeName, count: usize) -> String {
    if count > 1 { format!("{first} and {} other nodes", count - 1) } else { first.to_string() }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.origin.as_deref().unwrap_or_default(), &self.object, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        write!(f, "{} ({})", self.message, self.consequence)
    }
}

/// The problems of a node by itself.
pub(crate) fn of_node(node: &Node) -> impl Iterator<Item = Problem> {
    node.faults.iter().map(|fault| left_out(format!("Node {}", node.name), None, fault))
}

/// So many addresses of one node that are not believed are told.
const TOLD_ADDRESSES: usize = 8;

/// The problems of what CNI is said to have done on a node, of which these addresses are not believed.
pub(crate) fn of_node_pods<'a>(
    node: &NodeName,
    object: &NodePods,
    disbelieved: impl Iterator<Item = (&'a PodKey, IpAddr)>,
) -> Vec<Problem> {
    let title = || format!("NodePods {node}");
    let mut found: Vec<Problem> =
        object.faults().iter().map(|fault| left_out(title(), None, fault)).collect();
    let mut disbelieved = disbelieved.peekable();
    let problem = |message| Problem {
        object: title(),
        namespace: None,
        origin: None,
        field: "sandboxes".to_owned(),
        message,
        consequence: Consequence::LeftOut,
    };
    // Pods are of some namespace, and whoever may read of nodes may not read of every one: addresses are enough.
    for (_, address) in disbelieved.by_ref().take(TOLD_ADDRESSES) {
        found.push(problem(format!("address {address} of a pod is in none of the node's pod CIDRs")));
    }
    let more = disbelieved.count();
    if more > 0 {
        found.push(problem(format!("{more} more addresses of pods are in none of the node's pod CIDRs")));
    }
    found
}

/// The problems of a node whose pods hang on these bridges, as its agent's facts tell them.
pub(crate) fn of_facts(facts: &Facts, pod_bridges: &BTreeSet<InterfaceName>) -> Vec<Problem> {
    let problem = |message: String, consequence| Problem {
        object: format!("Node {}", facts.node),
        namespace: None,
        origin: Some("agent".into()),
        field: String::new(),
        message,
        consequence,
    };
    let unjudged = facts.unjudged(pod_bridges);
    let mut found: Vec<Problem> =
        unjudged.iter().map(|why| problem(why.to_string(), Consequence::NotJudged)).collect();
    found.extend(facts.accept_source_route.then(|| {
        let message =
            "packets may choose their way (accept_source_route, seg6_enabled or rpl_seg_enabled is on)";
        problem(message.to_owned(), Consequence::Told)
    }));
    found
}

/// The namespaces whose pods are not waited for any more, each with one of the nodes; who is overdue, in order.
pub(crate) fn of_overdue<'a>(overdue: impl Iterator<Item = &'a Overdue>) -> Vec<Problem> {
    let mut nodes: BTreeMap<&NamespaceName, (&NodeName, usize)> = BTreeMap::new();
    for one in overdue {
        if let Overdue::Namespace(node, namespace) = one {
            nodes.entry(namespace).or_insert((node, 0)).1 += 1;
        }
    }
    let problem = |(namespace, (node, count)): (&NamespaceName, (&NodeName, usize))| {
        let message = format!(
            "its pods were waited for in vain too long on {}: they get no address, or go before they have one",
            self::nodes(node, count)
        );
        Problem::of_namespace(namespace, message, Consequence::NotAwaited)
    };
    nodes.into_iter().map(problem).collect()
}

/// The problems of a pod by itself.
pub(crate) fn of_pod(pod: &Pod) -> impl Iterator<Item = Problem> {
    pod.faults.iter().map(|fault| left_out(format!("Pod {}", pod.key), Some(&pod.key.namespace), fault))
}

fn left_out(object: String, namespace: Option<&NamespaceName>, fault: &Fault) -> Problem {
    Problem {
        object,
        namespace: namespace.cloned(),
        origin: Some(Arc::clone(&fault.origin)),
        field: fault.field.clone(),
        message: fault.message.clone(),
        consequence: Consequence::LeftOut,
    }
}

/// The problems of a policy by itself.
pub(crate) fn of_policy(policy: &Policy) -> impl Iterator<Item = Problem> {
    let directions: Vec<String> =
        Direction::ALL.iter().filter(|d| policy.rules(**d).is_some()).map(ToString::to_string).collect();
    policy.faults().iter().map(move |fault| Problem {
        object: format!("NetworkPolicy {}", policy.key),
        namespace: Some(policy.key.namespace.clone()),
        origin: Some(Arc::clone(&fault.origin)),
        field: fault.field.clone(),
        message: format!("{} [{}]", fault.message, directions.join(" and ")),
        consequence: Consequence::Isolated,
    })
}

/// So many owners of an address are named.
const NAMED_OWNERS: usize = 8;

/// The problems of an address with several owners: one for each of their namespaces.
pub(crate) fn contested(address: IpAddr, owners: &[&PodKey]) -> Vec<Problem> {
    let mut namespaces: BTreeMap<&NamespaceName, Vec<String>> = BTreeMap::new();
    for owner in owners {
        namespaces.entry(&owner.namespace).or_default().push(owner.to_string());
    }
    let problem = |(namespace, names): (&NamespaceName, Vec<String>)| {
        let others = owners.len() - names.len();
        let elsewhere =
            if others == 0 { String::new() } else { format!(" and {others} in other namespaces") };
        let named = names.get(..NAMED_OWNERS).unwrap_or(&names).join(", ");
        let unnamed = names.len().saturating_sub(NAMED_OWNERS);
        let who = if unnamed == 0 { named } else { format!("{named} and {unnamed} more of its namespace") };
        Problem {
            object: format!("Pod {}", names.first().map_or("", |name| name)),
            namespace: Some(namespace.clone()),
            origin: None,
            field: "status.podIPs".to_owned(),
            message: format!("address {address} is owned by {} live pods: {who}{elsewhere}", owners.len()),
            consequence: Consequence::AllOwnersMustAllow,
        }
    };
    namespaces.into_iter().map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_contests_an_address_is_named_within_a_namespace_only() {
        let keys = [("a", "x"), ("b", "y"), ("a", "z")]
            .map(|(namespace, name)| PodKey::new(namespace, name).unwrap());
        let problems = contested([10, 0, 0, 1].into(), &keys.each_ref());
        let told: Vec<_> = problems.iter().map(|it| (it.object.as_str(), it.message.as_str())).collect();
        let owned = "address 10.0.0.1 is owned by 3 live pods";
        assert_eq!(
            told,
            [
                ("Pod a/x", &*format!("{owned}: a/x, a/z and 1 in other namespaces")),
                ("Pod b/y", &*format!("{owned}: b/y and 2 in other namespaces")),
            ]
        );
        let namespaces: Vec<_> = problems.iter().flat_map(|it| &it.namespace).map(|it| it.as_str()).collect();
        assert_eq!(namespaces, ["a", "b"]);
    }
}
