//! Sets of nodes that take little room: a pass touches one node, or all of thousands.

use std::collections::HashMap;

use flock_shared::NodeName;

/// Numbers of nodes; one is never given to another.
#[derive(Debug, Default)]
pub(super) struct NodeIds {
    ids: HashMap<NodeName, u32>,
    names: Vec<NodeName>,
}

/// So many names are known at most. Clusters have fewer by far, unless nodes come and go for months: then they are not
/// counted.
const MOST: usize = 1 << 20;

/// A set of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSet {
    ids: NodeIdSet,
    len: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum NodeIdSet {
    Few(Box<[u32]>),
    /// A bit for each id.
    Many(Box<[u64]>),
}

impl Default for NodeIdSet {
    fn default() -> Self {
        Self::Few(Box::default())
    }
}

impl NodeIds {
    pub(super) fn set<'a>(&mut self, nodes: impl Iterator<Item = &'a NodeName>) -> NodeSet {
        let mut ids: Vec<u32> = nodes.filter_map(|node| self.id(node)).collect();
        ids.sort_unstable();
        ids.dedup();
        let len = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let words = ids.last().map_or(0, |last| *last as usize / 64 + 1);
        // Whichever takes less memory: an id has half the bytes of a word.
        let ids = if ids.len() <= words * 2 {
            NodeIdSet::Few(ids.into())
        } else {
            let mut bits = vec![0u64; words];
            for id in ids {
                if let Some(word) = bits.get_mut(id as usize / 64) {
                    *word |= 1 << (id % 64);
                }
            }
            NodeIdSet::Many(bits.into())
        };
        NodeSet { ids, len }
    }

    fn id(&mut self, node: &NodeName) -> Option<u32> {
        if let Some(id) = self.ids.get(node) {
            return Some(*id);
        }
        let id = u32::try_from(self.names.len()).ok().filter(|_| self.names.len() < MOST)?;
        self.names.push(node.clone());
        self.ids.insert(node.clone(), id);
        Some(id)
    }

    pub(super) fn name(&self, id: u32) -> Option<&NodeName> {
        self.names.get(id as usize)
    }
}

impl NodeSet {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Returns true if there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Their ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let (few, many): (&[u32], &[u64]) = match &self.ids {
            NodeIdSet::Few(ids) => (ids, &[]),
            NodeIdSet::Many(bits) => (&[], bits),
        };
        let of_word = |(index, word): (usize, &u64)| {
            let (base, word) = (u32::try_from(index * 64).unwrap_or(u32::MAX), *word);
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| base + bit)
        };
        few.iter().copied().chain(many.iter().enumerate().flat_map(of_word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_nodes_that_it_was_made_of() {
        let mut ids = NodeIds::default();
        let all: Vec<NodeName> =
            (0..1000).map(|number| NodeName::new(&format!("n{number}")).unwrap()).collect();
        let everything = ids.set(all.iter());
        for wanted in [vec![], vec![999], vec![5, 3, 3], (0..1000).collect(), (0..1000).step_by(7).collect()]
        {
            let set = ids.set(wanted.iter().map(|index: &usize| &all[*index]));
            let mut expected: Vec<&NodeName> = wanted.iter().map(|index| &all[*index]).collect();
            expected.sort_by_key(|name| name.as_str()[1..].parse::<u32>().unwrap());
            expected.dedup();
            let found: Vec<&NodeName> = set.iter().map(|id| ids.name(id).unwrap()).collect();
            assert_eq!(found, expected);
            assert_eq!(set.len() as usize, expected.len());
        }
        assert!(matches!(everything.ids, NodeIdSet::Many(_)));
    }
}
