//! Rows of an answer: where pods of a workload agree, they are one.

use flock_compiler_core::judge::{Flow, Judgement};
use flock_proto::v1;
use flock_proto::v1::end::End as Asked;

use crate::shown::some_of;
use crate::{At, Ends, workload};

/// One side of flows: what an end stands for, by pod.
pub(super) struct Side<'e> {
    /// As it was asked about.
    pub(super) name: String,
    /// The places of each pod, node or address, one for each of its addresses.
    pub(super) members: Vec<Vec<&'e At>>,
    /// What each member is part of.
    groups: Vec<Option<String>>,
    endpoints_total: Option<u32>,
}

impl<'e> Side<'e> {
    pub(super) fn of(asked: Option<&v1::End>, ends: &'e Ends) -> Self {
        let asked = asked.and_then(|end| end.end.as_ref());
        let mut members: Vec<Vec<&At>> = Vec::new();
        for at in &ends.at {
            // A pod may be several endpoints of a Service, at ports of its own: these are several members.
            let same = |other: &At| other.shown.name == at.shown.name && other.target_port == at.target_port;
            match members.last_mut() {
                Some(last) if last.iter().all(|other| same(other)) => last.push(at),
                _ => members.push(vec![at]),
            }
        }
        let group = |member: &Vec<&At>| match asked {
            Some(Asked::Service(service)) => Some(format!("{}/svc/{}", service.namespace, service.name)),
            Some(Asked::Workload(asked)) => {
                Some(format!("{}/{}/{}", asked.namespace, asked.kind, asked.name))
            }
            Some(Asked::Selection(_)) => {
                let pod = member.first().and_then(|at| at.pod.as_ref())?;
                Some(format!("{}/{}", pod.key.namespace, workload(pod)?))
            }
            _ => None,
        };
        let groups: Vec<Option<String>> = members.iter().map(group).collect();
        let first = || ends.at.first().map(|at| at.shown.name.clone());
        let name = groups.iter().flatten().next().cloned().or_else(first).unwrap_or_default();
        Self { name, members, groups, endpoints_total: ends.endpoints_total }
    }

    /// The members in classes: those of one group that agree in everything.
    fn classes(&self, agree: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
        let mut classes: Vec<Vec<usize>> = Vec::new();
        for member in 0..self.members.len() {
            let group = self.groups.get(member).and_then(Option::as_ref);
            let fits = |class: &&mut Vec<usize>| {
                class.first().is_some_and(|first| {
                    let other = self.groups.get(*first).and_then(Option::as_ref);
                    group.is_some() && other == group && agree(*first, member)
                })
            };
            // Hostile ends differ in each of thousands of pods, and rows are bounded in any case.
            match classes.iter_mut().rev().take(COMPARED).find(fits) {
                Some(class) => class.push(member),
                None => classes.push(vec![member]),
            }
        }
        classes
    }

    /// How a class of members is shown; `at` is one of their places.
    fn shown(&self, class: &[usize], at: &At) -> v1::ShownEnd {
        let mut shown = at.shown.clone();
        let group = class.first().and_then(|first| self.groups.get(*first)?.clone());
        if let (Some(group), 2..) = (group, class.len()) {
            let workload = match group.split_once('/') {
                Some((_, name)) if self.endpoints_total.is_none() => Some(name.to_owned()),
                _ => None,
            };
            let total = self.groups.iter().flatten().filter(|other| **other == group).count();
            let what = if self.endpoints_total.is_some() { "endpoints" } else { "pods" };
            let name = match class.len() == total {
                true => group,
                false => some_of(&group, class.len(), total, what, shown.pod.as_deref()),
            };
            shown = v1::ShownEnd {
                name,
                namespace: shown.namespace,
                pods: u32::try_from(class.len()).unwrap_or(u32::MAX),
                workload,
                ..v1::ShownEnd::default()
            };
        }
        if self.endpoints_total.is_some() {
            shown.endpoints = u32::try_from(class.len()).ok();
            shown.endpoints_total = self.endpoints_total;
        }
        shown
    }
}

/// A member is compared with so many classes of others.
const COMPARED: usize = 32;

/// What is said between two members: one judgement, or several where the families of their addresses differ in it.
#[derive(Default)]
pub(super) struct PairCell<'e>(Vec<Judged<'e>>);

/// What is said of a flow between two places.
struct Judged<'e> {
    from: &'e At,
    to: &'e At,
    flow: Flow,
    judgement: Judgement,
}

impl Judged<'_> {
    fn agrees(&self, other: &Self) -> bool {
        // Endpoints of a Service may be asked at different ports, which rows show.
        self.flow.carries == other.flow.carries && self.judgement == other.judgement
    }
}

impl<'e> PairCell<'e> {
    pub(super) fn add(&mut self, from: &'e At, to: &'e At, flow: Flow, judgement: Judgement) {
        let judged = Judged { from, to, flow, judgement };
        if !self.0.iter().any(|known| known.agrees(&judged)) {
            self.0.push(judged);
        }
    }

    fn agrees(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.agrees(b))
    }
}

/// One explanation.
pub(super) struct Row<'c> {
    pub(super) from: v1::ShownEnd,
    pub(super) to: v1::ShownEnd,
    pub(super) flow: &'c Flow,
    pub(super) judgement: &'c Judgement,
}

/// The rows of a table, in its order: first the sources that agree for every destination are taken together, then the
/// destinations that agree for those.
pub(super) fn rows<'c>([from, to]: &[Side<'_>; 2], cells: &'c [Vec<PairCell<'_>>]) -> Vec<Row<'c>> {
    let agree = |a: usize, b: usize| match (cells.get(a), cells.get(b)) {
        // Pairs that were left out are missing at the end of a row: of rows of different length not all is known.
        (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.agrees(b)),
        _ => false,
    };
    let mut rows = Vec::new();
    for sources in from.classes(agree) {
        let Some(row) = sources.first().and_then(|first| cells.get(*first)) else { continue };
        let agree = |a: usize, b: usize| match (row.get(a), row.get(b)) {
            (Some(a), Some(b)) => a.agrees(b),
            _ => false,
        };
        for destinations in to.classes(agree) {
            let Some(cell) = destinations.first().and_then(|first| row.get(*first)) else { continue };
            rows.extend(cell.0.iter().map(|judged| Row {
                from: from.shown(&sources, judged.from),
                to: to.shown(&destinations, judged.to),
                flow: &judged.flow,
                judgement: &judged.judgement,
            }));
        }
    }
    rows
}
