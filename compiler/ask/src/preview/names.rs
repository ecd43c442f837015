//! How sets of ends are named: workload by workload, else by namespace, else by how many there are.

use std::collections::{BTreeMap, HashMap};

use flock_compiler_core::block::{AddressBits, Ranges};
use flock_proto::v1;
use flock_shared::NamespaceName;

use super::cells::{CellId, Cells, Family, PodIndex};
use super::pieces::Piece;
use super::work::Work;
use crate::{AskError, Sight, workload};

/// As many ends are named one by one; more are too many to be read beside others.
pub(super) const MOST: usize = 10;
/// As many ranges of addresses are named.
const RANGES: usize = 5;

/// An end of rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Name {
    pub shown: v1::ShownEnd,
    /// Where it is one pod.
    pub only: Option<PodIndex>,
}

/// Names ends.
#[derive(Debug)]
pub(super) struct Names<'c, 'a> {
    cells: &'c Cells<'a>,
    sight: &'c Sight,
    /// How many pods there are of each workload and in each namespace.
    of_workload: HashMap<(&'a NamespaceName, String), u32>,
    of_namespace: HashMap<&'a NamespaceName, u32>,
    /// Whether pods may have addresses of IPv4 and of IPv6.
    families: [bool; 2],
}

impl<'c, 'a> Names<'c, 'a> {
    pub(super) fn new(cells: &'c Cells<'a>, sight: &'c Sight) -> Self {
        let (mut of_workload, mut of_namespace) = (HashMap::new(), HashMap::new());
        for pod in &cells.pods {
            *of_namespace.entry(&pod.key.namespace).or_default() += 1;
            if let Some(made_by) = workload(pod) {
                *of_workload.entry((&pod.key.namespace, made_by)).or_default() += 1;
            }
        }
        let has = |family: Family| {
            cells.all().any(|(_, cell)| !cell.owners.is_empty() && cell.family.talks_to(family))
        };
        Self { cells, sight, of_workload, of_namespace, families: [has(Family::V4), has(Family::V6)] }
    }

    /// The names of all ends of some cells; at least one, and not many.
    pub(super) fn of(&self, cells: &[CellId], work: &mut Work) -> Result<Vec<Name>, AskError> {
        let (mut pods, mut pieces, mut is_free) = (Vec::new(), Vec::new(), false);
        for cell in cells.iter().filter_map(|id| self.cells.cell(*id)) {
            pods.extend_from_slice(&cell.pods);
            pieces.extend_from_slice(&cell.pieces);
            is_free |= cell.is_free;
        }
        work.spend(2 * pods.len() + pieces.len())?;
        // A pod of two families may be in two cells.
        pods.sort_unstable();
        pods.dedup();
        let mut names = self.workloads(&pods);
        if names.len() > MOST {
            names = self.namespaces(&pods);
        }
        if names.len() > MOST {
            names = vec![self.all(&pods)];
        }
        names.extend(is_free.then(|| self.outside(pieces)));
        Ok(names)
    }

    /// One by one, no more than one too many.
    fn workloads(&self, pods: &[PodIndex]) -> Vec<Name> {
        let mut all: BTreeMap<(&NamespaceName, String), Vec<PodIndex>> = BTreeMap::new();
        for index in pods {
            let Some(pod) = self.cells.pods.get(*index as usize) else { continue };
            let namespace = &pod.key.namespace;
            let name = match self.sight.sees(namespace) {
                true => workload(pod).unwrap_or_else(|| pod.key.name.to_string()),
                // All of its pods are one end: names would tell them apart.
                false => String::new(),
            };
            all.entry((namespace, name)).or_default().push(*index);
            if all.len() > MOST {
                break;
            }
        }
        let name = |((namespace, workload), pods): ((&'a NamespaceName, String), Vec<PodIndex>)| {
            let first = pods.first().and_then(|pod| self.cells.pods.get(*pod as usize));
            let is_one = pods.len() == 1 && first.is_some_and(|pod| !pod.stands_for_others());
            let only = pods.first().copied().filter(|_| is_one);
            if !self.sight.sees(namespace) {
                return Name { shown: hidden(namespace), only };
            }
            let total = self.of_workload.get(&(namespace, workload.clone())).copied();
            let is_pod = total.is_none();
            let count = u32::try_from(pods.len()).unwrap_or(u32::MAX);
            let some = total.filter(|total| *total > count);
            let some = some.map(|total| format!(" ({count} of {total} pods)")).unwrap_or_default();
            let shown = v1::ShownEnd {
                name: format!("{namespace}/{workload}{some}"),
                namespace: Some(namespace.to_string()),
                pod: first.filter(|_| is_pod).map(|pod| pod.key.name.to_string()),
                workload: (!is_pod).then_some(workload),
                pods: count,
                ..v1::ShownEnd::default()
            };
            Name { shown, only }
        };
        all.into_iter().map(name).collect()
    }

    fn namespaces(&self, pods: &[PodIndex]) -> Vec<Name> {
        let mut all: BTreeMap<&'a NamespaceName, u32> = BTreeMap::new();
        for pod in pods.iter().filter_map(|pod| self.cells.pods.get(*pod as usize)) {
            *all.entry(&pod.key.namespace).or_default() += 1;
        }
        let name = |(namespace, count): (&'a NamespaceName, u32)| {
            if !self.sight.sees(namespace) {
                return Name { shown: hidden(namespace), only: None };
            }
            let total = self.of_namespace.get(namespace).copied().unwrap_or_default();
            let some = if total > count { format!(" ({count} of {total} pods)") } else { String::new() };
            let name = format!("{namespace}/*{some}");
            let namespace = Some(namespace.to_string());
            let shown = v1::ShownEnd { name, namespace, pods: count, ..v1::ShownEnd::default() };
            Name { shown, only: None }
        };
        all.into_iter().map(name).collect()
    }

    fn all(&self, pods: &[PodIndex]) -> Name {
        let count = u32::try_from(pods.len()).unwrap_or(u32::MAX);
        let found = pods.iter().filter_map(|pod| self.cells.pods.get(*pod as usize));
        let mut namespaces: Vec<&NamespaceName> = found.map(|pod| &pod.key.namespace).collect();
        // Positions are in order of keys, so pods of a namespace are neighbours.
        namespaces.dedup();
        let name = match pods.len() == self.cells.pods.len() {
            true => "all pods".to_owned(),
            // How many there are where the asker sees nothing is none of his business.
            false if !self.sight.sees_everything() => format!("pods of {} namespaces", namespaces.len()),
            false => format!("{count} pods of {} namespaces", namespaces.len()),
        };
        let pods = if self.sight.sees_everything() { count } else { 0 };
        Name { shown: v1::ShownEnd { name, pods, ..v1::ShownEnd::default() }, only: None }
    }

    /// Addresses that nobody has: `internet` where they are all of each family that pods have addresses of.
    fn outside(&self, pieces: Vec<Piece>) -> Name {
        let addresses = self.cells.pieces.addresses(pieces);
        let [v4, v6] = self.families;
        let name = match (!v4 || addresses.v4.is_full()) && (!v6 || addresses.v6.is_full()) {
            true => "internet".to_owned(),
            false => {
                let families = [family(&addresses.v4), family(&addresses.v6)];
                let families: Vec<String> = families.into_iter().flatten().collect();
                families.join(" and ")
            }
        };
        Name { shown: v1::ShownEnd { name, ..v1::ShownEnd::default() }, only: None }
    }
}

/// Pods of a namespace that the asker may not see.
fn hidden(namespace: &NamespaceName) -> v1::ShownEnd {
    let (name, namespace) = (format!("pods of {namespace}"), Some(namespace.to_string()));
    v1::ShownEnd { name, namespace, ..v1::ShownEnd::default() }
}

/// Ranges of a family as people write them, `None` if there are none: a few, or a block and what is taken out of it.
fn family<T: AddressBits>(ranges: &Ranges<T>) -> Option<String> {
    let (first, _) = ranges.iter().next()?;
    let (_, last) = ranges.iter().last()?;
    let hull = Ranges::union_of([(first, last)]);
    let holes = hull.without(ranges);
    let is_block = hull.display().all(|range| range.contains('/'));
    Some(match is_block && !holes.is_empty() {
        true => format!("{} except {}", listed(&hull), listed(&holes)),
        false => listed(ranges),
    })
}

fn listed<T: AddressBits>(ranges: &Ranges<T>) -> String {
    let all: Vec<String> = ranges.display().take(RANGES).collect();
    let more = ranges.len().saturating_sub(RANGES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", all.join(", "))
}
