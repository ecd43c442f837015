//! Rows of an answer: other ends that agree, as few as people read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use flock_compiler_core::object::{Lifecycle, Pod};
use flock_proto::v1;
use flock_shared::{NamespaceName, NodeName};
use fnv::FnvHashMap;

use super::answers::{Answer, own_node};
use super::because::{because, mentions};
use super::grouped::{self, Item, Part, Pods, ROWS, Way, collect};
use super::others::End;
use super::table::{Between, EndGroup, PairOutcome, Table, Via};
use super::{Layout, TableQuery};
use crate::ports::{Mentions, Ports};
use crate::shown::some_of;
use crate::{AskError, Sight, shown};

/// So many rows an answer has.
const MOST: usize = 20_000;
/// So many blocks are named that are taken out of one.
const EXCEPTS: usize = 5;

/// Where something passes to or from nodes: the way, and what passes.
type NodesBy<'w> = BTreeMap<(Way, Answer), (Vec<&'w NodeName>, Between)>;

/// How many pods the parts of a namespace have, by its position, as far as that was asked for.
type PartTotals<'w> = RefCell<BTreeMap<usize, BTreeMap<Part<'w>, usize>>>;

pub(super) fn rows(
    table: &Table<'_, '_>,
    sight: &Sight,
    asked: &TableQuery,
) -> Result<Vec<v1::ReachRow>, AskError> {
    let (mut rows, totals) = (Vec::new(), RefCell::default());
    for group in &table.groups {
        GroupWriter::new(table, group, &totals, sight, asked).write(&mut rows)?;
        if rows.len() > MOST {
            return Err(AskError::TooLarge(format!(
                "more than {MOST} answers differ: ask about one pod, one namespace (`-n`) or one port"
            )));
        }
    }
    Ok(rows)
}

/// Writes the rows of one group.
struct GroupWriter<'t, 'a, 'w> {
    table: &'t Table<'a, 'w>,
    group: &'t EndGroup,
    totals: &'t PartTotals<'w>,
    sight: &'t Sight,
    layout: &'t Layout,
    /// Only these.
    only: Option<Ports>,
    passing: FnvHashMap<Answer, Ports>,
}

impl<'t, 'a, 'w> GroupWriter<'t, 'a, 'w> {
    fn new(
        table: &'t Table<'a, 'w>,
        group: &'t EndGroup,
        totals: &'t PartTotals<'w>,
        sight: &'t Sight,
        asked: &'t TableQuery,
    ) -> Self {
        let target = table.places_of(group).next().and_then(|(_, at)| at.target_port);
        let only = asked.ports.iter().map(|port| port.ports(target)).reduce(|all, one| all.or(&one));
        Self { table, group, totals, sight, layout: &asked.layout, only, passing: FnvHashMap::default() }
    }

    /// Returns true if pods of a namespace are named.
    fn names(&self, namespace: &NamespaceName) -> bool {
        let is_within = match self.layout {
            Layout::Matrix(Some(within)) => within == namespace,
            Layout::Matrix(None) | Layout::Reach => true,
        };
        is_within && self.sight.sees(namespace)
    }

    /// What passes of what is asked about.
    fn passing(&mut self, answer: Answer) -> &Ports {
        let (table, only) = (self.table, &self.only);
        self.passing.entry(answer).or_insert_with(|| {
            let all = table.answers.sets.ports(answer).cloned().unwrap_or_default();
            only.as_ref().map_or_else(|| all.clone(), |only| all.and(only))
        })
    }

    fn write(&mut self, rows: &mut Vec<v1::ReachRow>) -> Result<(), AskError> {
        let (items, hidden, totals) = self.items();
        let mut found: BTreeMap<(String, String, usize), v1::ReachRow> = BTreeMap::new();
        self.pods(&items, &totals, &mut found)?;
        for (namespace, (ports, between)) in hidden {
            let shown = v1::ShownEnd {
                name: format!("namespace {namespace}"),
                namespace: Some(namespace.to_string()),
                ..v1::ShownEnd::default()
            };
            if let Some(row) = self.row(shown, &ports, between, Way::Any, false) {
                // The last part keeps rows of one name apart.
                found.insert((namespace.to_string(), String::new(), found.len()), row);
            }
        }
        rows.extend(found.into_values());
        if *self.layout == Layout::Reach {
            self.nodes(rows);
        }
        self.addresses(rows);
        Ok(())
    }

    /// The pod that the asked end is, where it is one alone and does not stand for others, which reach each other.
    fn only_self(&self) -> Option<&'t Arc<Pod>> {
        let [_] = &*self.group.members else { return None };
        let (_, at) = self.table.places_of(self.group).next()?;
        match (&at.pod, &*at.place.owners) {
            (Some(pod), _) | (None, [pod]) => (!pod.stands_for_others()).then_some(pod),
            _ => None,
        }
    }

    /// What passes to or from each pod that may be seen, and any pod of namespaces that may not; and how many pods there are in
    /// each namespace.
    #[allow(clippy::type_complexity, reason = "three lists that are made in one go")]
    fn items(&mut self) -> (Vec<Item<'w>>, BTreeMap<&'w NamespaceName, (Ports, Between)>, Vec<u32>) {
        let (mut items, mut hidden, mut totals) = (Vec::new(), BTreeMap::new(), Vec::new());
        let only_self = self.only_self();
        for (position, (namespace, range)) in self.table.others.namespaces.iter().enumerate() {
            let is_seen = self.names(namespace);
            let own = only_self.filter(|own| own.key.namespace == **namespace);
            let mut total = 0;
            for (end, list) in self.table.others.all.get(range.clone()).unwrap_or_default() {
                let End::Pod(pod) = end else { continue };
                if own.is_some_and(|own| own.key == pod.key) {
                    continue;
                }
                // Whether or not something passes: rows tell how many of these pods they are about.
                total += 1;
                for (via, answer, between) in entries(self.group.outcomes.get(*list as usize)) {
                    // A matrix has a cell where nothing passes, too; `reach` tells what does.
                    let is_cell = is_seen && *self.layout != Layout::Reach;
                    let ports = self.passing(answer);
                    if ports.is_empty() && !is_cell {
                        continue;
                    }
                    if is_seen {
                        let way = self.way(via, end);
                        items.push(Item { pod, namespace: position, way, answer, between });
                        continue;
                    }
                    let (all, _) = hidden.entry(*namespace).or_insert_with(|| (Ports::default(), between));
                    // Pods of a namespace mostly agree, and comparing is less than a union.
                    if *all != *ports {
                        *all = all.or(ports);
                    }
                }
            }
            totals.push(total);
        }
        (items, hidden, totals)
    }

    /// The addresses that an answer is about.
    fn way(&self, via: Via, other: &End<'w>) -> Way {
        let Via::Places { asked, other: position } = via else {
            return match via {
                Via::Family { is_v4 } => Way::Family { is_v4 },
                Via::Any | Via::Places { .. } => Way::Any,
            };
        };
        let judge = self.table.judge;
        let address = match other {
            // Lists of classes are in the order of these places.
            End::Pod(pod) => judge.places_of_pod(pod).get(position).and_then(|place| place.address),
            End::Node(node) => {
                judge.world().nodes().get(*node).and_then(|node| node.addresses.get(position)).copied()
            }
            End::Internet | End::Block(_) => None,
        };
        Way::Addresses(self.table.places.get(asked).and_then(|at| at.place.address), address)
    }

    fn pods(
        &mut self,
        items: &[Item<'w>],
        totals: &[u32],
        rows: &mut BTreeMap<(String, String, usize), v1::ReachRow>,
    ) -> Result<(), AskError> {
        if let Some(found) = collect(items, |item| (item.namespace, Part::of(item.pod))) {
            for (((position, part), way, answer), pods) in found {
                let (namespace, name) = (&pods.first.key.namespace, part.to_string());
                // A pod that differs from the others of its workload is called by its own name, without how many
                // there are.
                let total = if pods.pods > 1 { self.total(position, part) } else { None };
                let end = self.workload(&pods, &name, total);
                self.push(rows, (namespace.to_string(), name), end, answer, &pods, way);
            }
            return Ok(());
        }
        if let Some(found) = collect(items, |item| item.namespace) {
            for ((position, way, answer), pods) in found {
                let namespace = &pods.first.key.namespace;
                let name = match totals.get(position).is_some_and(|total| *total == pods.pods) {
                    true => format!("namespace {namespace}"),
                    false => format!("{} pods of namespace {namespace}", pods.pods),
                };
                let namespace = namespace.to_string();
                let end = v1::ShownEnd {
                    name,
                    namespace: Some(namespace.clone()),
                    pods: pods.pods,
                    ..v1::ShownEnd::default()
                };
                self.push(rows, (namespace, String::new()), end, answer, &pods, way);
            }
            return Ok(());
        }
        let Some(found) = collect(items, |_| ()) else {
            return Err(AskError::TooLarge(format!(
                "more than {ROWS} answers differ: ask about one port (`:PORT`), or with `explain`"
            )));
        };
        for (((), way, answer), pods) in found {
            let name = format!("{} pods of {} namespaces", pods.pods, pods.namespaces);
            let end = v1::ShownEnd { name, pods: pods.pods, ..v1::ShownEnd::default() };
            self.push(rows, (String::new(), String::new()), end, answer, &pods, way);
        }
        Ok(())
    }

    /// How many other pods a part of a namespace, by position, has.
    fn total(&self, position: usize, part: Part<'w>) -> Option<usize> {
        let others = &self.table.others;
        let (namespace, range) = others.namespaces.get(position)?;
        let mut totals = self.totals.borrow_mut();
        let of_namespace = totals.entry(position).or_insert_with(|| {
            let ends = others.all.get(range.clone()).unwrap_or_default().iter();
            let pods = ends.filter_map(|(end, _)| match end {
                End::Pod(pod) => Some(*pod),
                _ => None,
            });
            grouped::totals(&pods.collect::<Vec<_>>())
        });
        let is_own = |own: &&Arc<Pod>| {
            own.key.namespace == **namespace
                && Part::of(own) == part
                && !own.is_of_host_network()
                && own.lifecycle != Lifecycle::Finished
        };
        // The asked pod is among all pods, and is no other end of its own.
        Some(of_namespace.get(&part)?.saturating_sub(usize::from(self.only_self().filter(is_own).is_some())))
    }

    /// `total` is how many other pods the workload has, of which these agree.
    fn workload(&self, pods: &Pods<'w>, name: &str, total: Option<usize>) -> v1::ShownEnd {
        let namespace = &pods.first.key.namespace;
        if pods.pods > 1 {
            let (count, whole) = (pods.pods as usize, format!("{namespace}/{name}"));
            let name_of_all = match total.filter(|total| *total != count) {
                Some(total) => some_of(&whole, count, total, "pods", Some(pods.first.key.name.as_str())),
                None => whole,
            };
            return v1::ShownEnd {
                name: name_of_all,
                namespace: Some(namespace.to_string()),
                workload: Some(name.to_owned()),
                pods: pods.pods,
                ..v1::ShownEnd::default()
            };
        }
        let places = self.table.judge.places_of_pod(pods.first);
        let mut end = match places.first() {
            Some(place) => shown(place, Some(pods.first), self.sight),
            None => v1::ShownEnd::default(),
        };
        // One of several would stand for all; a row that is about one of them names it, in `row`.
        if places.len() > 1 {
            end.address = None;
        }
        end
    }

    fn push(
        &mut self,
        rows: &mut BTreeMap<(String, String, usize), v1::ReachRow>,
        (namespace, name): (String, String),
        end: v1::ShownEnd,
        answer: Answer,
        pods: &Pods<'w>,
        way: Way,
    ) {
        let ports = self.passing(answer).clone();
        if let Some(mut row) = self.row(end, &ports, pods.between, way, true) {
            if pods.namespaces > 1 {
                row.words = format!("{}, as {} for one", row.words, pods.first.key);
            }
            rows.insert((namespace, name, rows.len()), row);
        }
    }

    fn row(
        &self,
        mut other: v1::ShownEnd,
        ports: &Ports,
        between: Between,
        way: Way,
        is_named: bool,
    ) -> Option<v1::ReachRow> {
        let table = self.table;
        let (at, place) = table.between(between)?;
        let flow = super::answers::flow(table.direction, &at.place, place);
        let mentions = match is_named && self.only.is_none() {
            true => mentions(table.judge, &flow.source, &flow.destination, self.sight),
            false => Mentions::default(),
        };
        let (because, words) = match self.layout {
            Layout::Reach => because(table.judge, &flow, ports, self.sight),
            Layout::Matrix(_) => (Vec::new(), String::new()),
        };
        let words = way.said(table.direction, words);
        let mut end = table.shown(self.group, between.0);
        if let Way::Addresses(of_end, of_other) = way {
            end.address = of_end.map(|address| address.to_string());
            other.address = of_other.map(|address| address.to_string());
        }
        Some(v1::ReachRow {
            end: Some(end),
            other: Some(other),
            ports: ports.atoms(&mentions),
            because,
            words,
        })
    }

    fn nodes(&mut self, rows: &mut Vec<v1::ReachRow>) {
        let table = self.table;
        let one = self.group.members.len() == 1;
        let Some((first, at)) = table.places_of(self.group).next() else { return };
        // Owners of a contested address may be on several nodes.
        let is_own = |(_, other): (usize, &crate::At)| own_node(&other.place) == own_node(&at.place);
        let own = own_node(&at.place).filter(|_| !one || table.places_of(self.group).all(is_own));
        if let (Some(node), Some(answer)) = (own, table.answers.of_own_node(first)) {
            let ports = self.passing(answer).clone();
            let end = v1::ShownEnd {
                name: if one { format!("node/{node}") } else { "its own node".to_owned() },
                node: one.then(|| node.to_string()),
                ..v1::ShownEnd::default()
            };
            let words = "between a pod and its own node everything passes".to_owned();
            if !ports.is_empty() {
                rows.push(v1::ReachRow {
                    end: Some(table.shown(self.group, first)),
                    other: Some(end),
                    ports: ports.atoms(&Mentions::default()),
                    because: Vec::new(),
                    words,
                });
            }
        }
        let mut found: NodesBy<'_> = BTreeMap::new();
        for (end, list) in &table.others.all {
            let End::Node(node) = end else { continue };
            // It has a row already. Of several asked pods each may have another node for its own.
            if one && own == Some(node) {
                continue;
            }
            for (via, answer, between) in entries(self.group.outcomes.get(*list as usize)) {
                found
                    .entry((self.way(via, end), answer))
                    .or_insert_with(|| (Vec::new(), between))
                    .0
                    .push(node);
            }
        }
        for ((way, answer), (nodes, between)) in found {
            let ports = self.passing(answer).clone();
            let name = match &*nodes {
                _ if !self.sight.sees_everything() => "nodes".to_owned(),
                [node] => format!("node/{node}"),
                all => format!("{} nodes", all.len()),
            };
            let node = match &*nodes {
                [node] if self.sight.sees_everything() => Some(node.to_string()),
                _ => None,
            };
            let end = v1::ShownEnd { name, node, ..v1::ShownEnd::default() };
            if !ports.is_empty() {
                rows.extend(self.row(end, &ports, between, way, true));
            }
        }
    }

    /// The internet, and the blocks that differ from it or from those that they are within; from each address of the
    /// asked end where these differ.
    fn addresses(&mut self, rows: &mut Vec<v1::ReachRow>) {
        let table = self.table;
        let is_outside = |end: &End<'_>| matches!(end, End::Internet | End::Block(_));
        let outside = || table.others.all.iter().filter(|(end, _)| is_outside(end));
        let by_place = outside().any(|(_, list)| {
            entries(self.group.outcomes.get(*list as usize))
                .any(|(via, ..)| matches!(via, Via::Places { .. }))
        });
        if !by_place {
            self.addresses_of(None, rows);
            return;
        }
        let places: Vec<usize> = table.places_of(self.group).map(|(place, _)| place).collect();
        for place in places {
            self.addresses_of(Some(place), rows);
        }
    }

    /// What passes between the asked places, or one of them, and an end outside.
    fn outside(&self, place: Option<usize>, list: u32) -> Vec<(Way, Answer, Between)> {
        let table = self.table;
        let Some(place) = place else {
            let all = entries(self.group.outcomes.get(list as usize));
            return all
                .map(|(via, answer, between)| (self.way(via, &End::Internet), answer, between))
                .collect();
        };
        let way = Way::Addresses(table.places.get(place).and_then(|at| at.place.address), None);
        let classes = table.others.lists.get(list as usize).map_or(&[][..], |classes| classes);
        let answers = classes.iter().filter_map(|class| Some((*class, table.answers.at(place, *class)?)));
        answers.map(|(class, answer)| (way, answer, (place, class))).collect()
    }

    fn addresses_of(&mut self, only: Option<usize>, rows: &mut Vec<v1::ReachRow>) {
        let table = self.table;
        let regions = &table.others.lens.regions.all;
        // By region, with the internet's of each family first.
        let mut outcomes: Vec<Option<(Way, Answer, Between)>> = vec![None; regions.len()];
        let mut internet: [Option<Answer>; 2] = [None, None];
        let mut last: Vec<(Way, Answer, Between)> = Vec::new();
        for (end, list) in &table.others.all {
            let classes = table.others.lists.get(*list as usize).map_or(&[][..], |classes| classes);
            match end {
                End::Internet => {
                    last = self.outside(only, *list);
                    for class in classes {
                        let is_v4 = table.others.classes.get(*class as usize).and_then(|it| it.is_v4);
                        let mut places = table
                            .places_of(self.group)
                            .filter(|(place, _)| only.is_none_or(|only| only == *place));
                        let answer = places.find_map(|(place, _)| table.answers.at(place, *class));
                        internet[usize::from(is_v4 == Some(false))] = answer;
                    }
                }
                End::Block(region) => {
                    let first = self.outside(only, *list).first().copied();
                    if let Some(slot) = outcomes.get_mut(*region) {
                        *slot = first;
                    }
                }
                _ => {}
            }
        }
        // The region whose row has this one, too; `None`: that of the internet.
        let mut heads: Vec<Option<usize>> = Vec::with_capacity(regions.len());
        let mut of_internet = Vec::new();
        let mut excepts: Vec<Vec<usize>> = vec![Vec::new(); regions.len()];
        for (index, region) in regions.iter().enumerate() {
            // A block comes after those that it is within, so their heads are known.
            let head = region.parent.and_then(|parent| heads.get(parent).copied().flatten());
            let around = match head {
                Some(head) => outcomes.get(head).copied().flatten().map(|(_, answer, _)| answer),
                None => internet[usize::from(region.block.addr().is_ipv6())],
            };
            let own = outcomes.get(index).copied().flatten().map(|(_, answer, _)| answer);
            let differs = match (own, around) {
                // By ports and not by answers: those that differ may be the same on the port that is asked about.
                (Some(own), Some(around)) => self.passing(own).clone() != *self.passing(around),
                (Some(_), None) => true,
                // Nothing was judged there, as where every address is somebody's: it is shown with what is around it.
                (None, _) => false,
            };
            if differs {
                let around = head.and_then(|head| excepts.get_mut(head));
                around.unwrap_or(&mut of_internet).push(index);
            }
            heads.push(if differs { Some(index) } else { head });
        }
        let except = |holes: &[usize]| {
            let blocks =
                holes.iter().take(EXCEPTS).filter_map(|hole| Some(regions.get(*hole)?.block.to_string()));
            let mut names: Vec<String> = blocks.collect();
            if holes.len() > EXCEPTS {
                names.push(format!("and {} more", holes.len() - EXCEPTS));
            }
            if names.is_empty() { String::new() } else { format!(" except {}", names.join(", ")) }
        };
        for (index, region) in regions.iter().enumerate() {
            let Some((way, answer, between)) = outcomes.get(index).copied().flatten() else { continue };
            // A block tells its family.
            let way = if only.is_some() { way } else { Way::Any };
            let ports = self.passing(answer).clone();
            if ports.is_empty() || heads.get(index) != Some(&Some(index)) {
                continue;
            }
            let except = except(excepts.get(index).map_or(&[], |holes| holes));
            let end = v1::ShownEnd { name: format!("{}{except}", region.block), ..v1::ShownEnd::default() };
            rows.extend(self.row(end, &ports, between, way, true));
        }
        for (way, answer, between) in last {
            let ports = self.passing(answer).clone();
            let is_of = |hole: &&usize| {
                regions.get(**hole).is_none_or(|region| way.is_of(region.block.addr().is_ipv4()))
            };
            let holes: Vec<usize> = of_internet.iter().filter(is_of).copied().collect();
            let end = v1::ShownEnd { name: format!("internet{}", except(&holes)), ..v1::ShownEnd::default() };
            if !ports.is_empty() {
                rows.extend(self.row(end, &ports, between, way, true));
            }
        }
    }
}

/// What passes, by addresses where that differs.
fn entries(outcome: Option<&PairOutcome>) -> impl Iterator<Item = (Via, Answer, Between)> + use<'_> {
    let (same, split) = match outcome {
        Some(PairOutcome::Same(answer, between)) => (Some((Via::Any, *answer, *between)), &[][..]),
        Some(PairOutcome::Split(all)) => (None, &**all),
        _ => (None, &[][..]),
    };
    same.into_iter().chain(split.iter().copied())
}
