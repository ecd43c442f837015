//! Translating a whole world at once: the same translation, from nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_shared::NodeName;

use super::{Options, Translator};
use crate::invariant::Broken;
use crate::output::{Families, Output};
use crate::problem::Problem;
use crate::world::World;

/// The outputs of all nodes of a world.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    families: Families,
    nodes: BTreeMap<NodeName, Arc<Output>>,
    problems: Vec<Problem>,
    broken: Option<Broken>,
}

impl Translation {
    /// The output of `node`; of a node that the world does not know: nothing is isolated.
    #[must_use]
    pub fn output(&self, node: &NodeName) -> Arc<Output> {
        let known = self.nodes.get(node).cloned();
        known.unwrap_or_else(|| Arc::new(Output::empty(node.clone(), self.families)))
    }

    /// What a user should mend, in order.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What is wrong with the translation itself, which then says nothing of any node.
    #[must_use]
    pub const fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// Every node of the world and its output, by name.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeMap<NodeName, Arc<Output>> {
        &self.nodes
    }
}

/// Translates a world.
#[must_use]
pub fn translate(world: &World) -> Translation {
    translate_with(world, Options::default())
}

/// Translates a world in the way that these options say.
#[must_use]
pub fn translate_with(world: &World, options: Options) -> Translation {
    let mut translator = Translator::with(options);
    translator.world = world.clone();
    let pass = translator.pass();
    let nodes = pass.changes.into_iter().map(|change| (change.after.node().clone(), change.after)).collect();
    let (families, problems) = (translator.indexes.families, translator.problems());
    Translation { families, nodes, problems, broken: pass.broken }
}
