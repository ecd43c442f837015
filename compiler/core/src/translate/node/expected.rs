//! Pods on their way that a policy isolates: who is expected on which node, and in which directions.
//!
//! Such a pod may start at any moment, with an address that nobody knows. It owns nothing, so it is in no group and in no set;
//! all that is done for it is that the blocks of its node are closed.

use std::collections::{BTreeMap, HashMap};

use crate::collections::ids::{NodeId, PodId};
use crate::object::{Direction, Types};

/// Pods on their way.
#[derive(Debug, Default)]
pub(in crate::translate) struct Expected {
    nodes: HashMap<PodId, NodeId>,
    by_node: BTreeMap<NodeId, BTreeMap<PodId, Types>>,
    /// Nodes on which other pods are expected, or in other directions; some may come twice.
    touched: Vec<NodeId>,
}

impl Expected {
    /// A pod is expected on this node, in these directions; `None`: on none.
    pub(in crate::translate) fn put(&mut self, pod: PodId, expected: Option<(NodeId, Types)>) {
        // Every pod of a pass comes by here, and most often nobody is expected anywhere.
        if expected.is_none() && self.nodes.is_empty() {
            return;
        }
        let after = expected.map(|(node, _)| node);
        let before = match after {
            Some(node) => self.nodes.insert(pod, node),
            None => self.nodes.remove(&pod),
        };
        if let Some(left) = before.filter(|node| after != Some(*node))
            && let Some(pods) = self.by_node.get_mut(&left)
        {
            pods.remove(&pod);
            if pods.is_empty() {
                self.by_node.remove(&left);
            }
            self.touched.push(left);
        }
        // The same pod in other directions closes the node in another way.
        if let Some((node, types)) = expected
            && self.by_node.entry(node).or_default().insert(pod, types) != Some(types)
        {
            self.touched.push(node);
        }
    }

    /// Returns true if a pod is expected somewhere.
    pub(in crate::translate) fn has(&self, pod: PodId) -> bool {
        self.nodes.contains_key(&pod)
    }

    /// The pods that are expected on a node, in no order that means anything.
    pub(in crate::translate) fn on(&self, node: NodeId) -> impl Iterator<Item = PodId> {
        self.by_node.get(&node).into_iter().flat_map(|pods| pods.keys().copied())
    }

    /// The directions in which one of them is isolated.
    pub(in crate::translate) fn directions(&self, node: NodeId) -> Option<Types> {
        let pods = self.by_node.get(&node)?;
        let in_direction = |direction: Direction| pods.values().any(|types| types.contains(direction));
        Types::of(in_direction)
    }

    /// Takes the nodes out on which something has changed; some may come twice.
    pub(in crate::translate) fn touched(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.touched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::ids::Id;

    #[test]
    fn a_node_is_closed_in_the_directions_of_those_who_are_expected_there() {
        let mut expected = Expected::default();
        let [a, b] = [1, 2].map(PodId::of);
        let [here, there] = [7, 8].map(NodeId::of);
        expected.put(a, None);
        assert_eq!((expected.directions(here), expected.touched()), (None, vec![]));
        expected.put(a, Some((here, Types::Ingress)));
        expected.put(b, Some((here, Types::Egress)));
        expected.put(b, Some((here, Types::Egress)));
        assert_eq!((expected.directions(here), expected.touched()), (Some(Types::Both), vec![here, here]));
        // One is another pod now, by the same id.
        expected.put(a, Some((there, Types::Both)));
        assert_eq!(
            (expected.directions(here), expected.directions(there)),
            (Some(Types::Egress), Some(Types::Both))
        );
        assert_eq!(expected.touched(), [here, there]);
        expected.put(b, None);
        assert_eq!(
            (expected.directions(here), expected.has(b), expected.touched()),
            (None, false, vec![here])
        );
        assert_eq!(expected.on(there).collect::<Vec<_>>(), [a]);
    }
}
