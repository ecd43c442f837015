//! What would be opened and closed if policies and namespaces were applied or deleted.
//!
//! ```text
//! World + Proposed ─▶ Objects (versions of policies, before and after) ─▶ Cells (ends that nothing tells apart)
//!                                                                          │
//!                       rows, by workload ◀── Difference (cells, ports) ◀──┴── only of pods whose policies or peers differ
//! ```
//!
//! The world is neither copied nor changed: what is proposed is laid over it. Only pods that a changed policy selects are
//! looked at, and those whose policies tell a changed namespace's labels apart; of other ends one of each cell. Addresses
//! that are a node's own, or that are in a block of a node's pods and nobody's, are no ends of their own.

mod cells;
mod differences;
mod names;
mod objects;
mod pieces;
mod rows;
#[cfg(test)]
mod tests;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flock_compiler_core::object::{Namespace, Policy};
use flock_proto::v1;
use flock_shared::{NamespaceName, PolicyKey};

use self::work::Work;
use crate::{AskError, Cluster, Sight};

/// What would be applied and deleted.
#[derive(Debug, Clone, Default)]
pub struct Proposed {
    /// Policies that are created, or take the place of those of their names.
    pub policies: Vec<Policy>,
    /// Namespaces, likewise.
    pub namespaces: Vec<Namespace>,
    /// Policies that are deleted.
    pub deleted: Vec<PolicyKey>,
    /// Kind, namespace and name of what is applied (such as `NetworkPolicy shop/web`) to the file that it is in.
    pub origins: BTreeMap<String, Arc<str>>,
}

/// The world as it is, or with what is proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    After,
}

impl When {
    const ALL: [Self; 2] = [Self::Before, Self::After];
}

/// What would be opened and closed: rows by workload, of which each has the ports that change alike for the same reasons, what
/// is opened first. Where an end of many flows that change alike stands for more workloads than people read, the row names
/// namespaces, or how many there are.
///
/// # Errors
/// [`AskError::Bad`] if something is proposed twice, [`AskError::NotFound`] for a policy that is to be deleted and is not
/// there, [`AskError::NotAllowed`] for a namespace that the asker may not see, [`AskError::TooLarge`] if there is too much to
/// compare.
pub fn preview(
    cluster: &Cluster<'_>,
    proposed: &Proposed,
    sight: &Sight,
) -> Result<Vec<v1::PreviewRow>, AskError> {
    within(&mut Work::default(), cluster, proposed, sight)
}

/// How many rows [`preview`] has of what is opened and of what is closed, at so many steps of work at most, of which those that
/// are left are put back. A step takes less than 100 ns.
///
/// # Errors
/// As [`preview`].
pub fn previewed(
    cluster: &Cluster<'_>,
    proposed: &Proposed,
    sight: &Sight,
    steps: &mut u64,
) -> Result<(u64, u64), AskError> {
    let mut work = Work::of(*steps);
    let rows = within(&mut work, cluster, proposed, sight);
    // Before an error is returned: what a refused preview has cost is gone all the same.
    *steps = work.left();
    let rows = rows?;
    let opened = rows.iter().filter(|row| row.change() == v1::Change::Opened).count() as u64;
    Ok((opened, rows.len() as u64 - opened))
}

fn within(
    work: &mut Work,
    cluster: &Cluster<'_>,
    proposed: &Proposed,
    sight: &Sight,
) -> Result<Vec<v1::PreviewRow>, AskError> {
    proposed.validate(cluster, sight)?;
    let objects = objects::Objects::new(cluster.world, proposed, work)?;
    let cells = cells::Cells::new(cluster.world, &objects, work)?;
    let mut comparison = differences::Comparison { objects: &objects, cells: &cells, work };
    let differences = comparison.all()?;
    rows::Writer::new(&objects, &cells, &proposed.origins, sight).rows(differences, work)
}

impl Proposed {
    /// What manifests propose. A namespace without a file only occurs in other objects: nothing is said of its labels, and it
    /// is left as it is.
    pub fn of_manifests<'m>(
        policies: impl IntoIterator<Item = &'m Policy>,
        namespaces: impl IntoIterator<Item = &'m Namespace>,
        deleted: Vec<PolicyKey>,
        origins: BTreeMap<String, Arc<str>>,
    ) -> Self {
        let is_said = |namespace: &&Namespace| origins.contains_key(&namespace_title(&namespace.name));
        let namespaces = namespaces.into_iter().filter(is_said).cloned().collect();
        Self { policies: policies.into_iter().cloned().collect(), namespaces, deleted, origins }
    }

    /// The namespaces that something is proposed in, or for.
    fn touched(&self) -> impl Iterator<Item = &NamespaceName> {
        let policies = self.policies.iter().map(|policy| &policy.key.namespace);
        let deleted = self.deleted.iter().map(|key| &key.namespace);
        policies.chain(deleted).chain(self.namespaces.iter().map(|namespace| &namespace.name))
    }

    fn validate(&self, cluster: &Cluster<'_>, sight: &Sight) -> Result<(), AskError> {
        let hidden: BTreeSet<&NamespaceName> = self.touched().filter(|name| !sight.sees(name)).collect();
        if let Some(name) = hidden.first() {
            let more = hidden.len() - 1;
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Err(AskError::NotAllowed(format!(
                "what is proposed is in namespace {name}{more}, whose policies you may not see"
            )));
        }
        let mut seen = BTreeSet::new();
        for key in self.policies.iter().map(|policy| &policy.key).chain(&self.deleted) {
            if !seen.insert(key) {
                return Err(AskError::Bad(format!("NetworkPolicy {key} is proposed twice")));
            }
        }
        let mut seen = BTreeSet::new();
        for namespace in &self.namespaces {
            if !seen.insert(&namespace.name) {
                return Err(AskError::Bad(format!("Namespace {} is proposed twice", namespace.name)));
            }
        }
        // Only now: to who may not see a namespace it is not told which policies are there.
        match self.deleted.iter().find(|key| !cluster.world.policies().contains_key(*key)) {
            Some(key) => Err(AskError::NotFound(format!("no NetworkPolicy {key}"))),
            None => Ok(()),
        }
    }
}

fn policy_title(key: &PolicyKey) -> String {
    format!("NetworkPolicy {key}")
}

fn namespace_title(name: &NamespaceName) -> String {
    format!("Namespace {name}")
}
