//! Pods on their way that a policy isolates: who is expected on which node, and in which directions.
//!
//! Such a pod may start at any moment, with an address that nobody knows. It owns nothing, so it is in no group and in no set;
//! all that is done for it is that the blocks of its node are closed.

use std::collections::{BTreeMap, HashMap};

use crate::object::{Direction, Types};

/// Pods on their way.
#[derive(Debug, Default)]
pub(super) struct Expected {
    nodes: HashMap<u32, u32>,
    by_node: BTreeMap<u32, BTreeMap<u32, Types>>,
    /// Nodes on which other pods are expected, or in other directions; some may come twice.
    touched: Vec<u32>,
}

impl Expected {
    /// A pod is expected on this node, in these directions; `None`: on none.
    pub(super) fn put(&mut self, pod: u32, expected: Option<(u32, Types)>) {
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
        if let Some((node, types)) = expected
            && self.by_node.entry(node).or_default().insert(pod, types) != Some(types)
        {
            self.touched.push(node);
        }
    }

    /// Returns true if a pod is expected somewhere.
    pub(super) fn has(&self, pod: u32) -> bool {
        self.nodes.contains_key(&pod)
    }

    /// The pods that are expected on a node, in no order that means anything.
    pub(super) fn on(&self, node: u32) -> impl Iterator<Item = u32> {
        self.by_node.get(&node).into_iter().flat_map(|pods| pods.keys().copied())
    }

    /// The directions in which one of them is isolated.
    pub(super) fn directions(&self, node: u32) -> Option<Types> {
        let pods = self.by_node.get(&node)?;
        let in_direction = |direction: Direction| pods.values().any(|types| types.contains(direction));
        Types::of(in_direction)
    }

    /// Takes the nodes out on which something has changed; some may come twice.
    pub(super) fn touched(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.touched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_closed_in_the_directions_of_those_who_are_expected_there() {
        let mut expected = Expected::default();
        expected.put(1, None);
        assert_eq!((expected.directions(7), expected.touched()), (None, vec![]));
        expected.put(1, Some((7, Types::Ingress)));
        expected.put(2, Some((7, Types::Egress)));
        expected.put(2, Some((7, Types::Egress)));
        assert_eq!((expected.directions(7), expected.touched()), (Some(Types::Both), vec![7, 7]));
        // One is another pod now, by the same number.
        expected.put(1, Some((8, Types::Both)));
        assert_eq!(
            (expected.directions(7), expected.directions(8)),
            (Some(Types::Egress), Some(Types::Both))
        );
        assert_eq!(expected.touched(), [7, 8]);
        expected.put(2, None);
        assert_eq!((expected.directions(7), expected.has(2), expected.touched()), (None, false, vec![7]));
        assert_eq!(expected.on(8).collect::<Vec<_>>(), [1]);
    }
}
