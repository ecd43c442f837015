//! The asked ends in groups that agree, and what passes between each of their pods and every other end.

use std::collections::HashMap;

use flock_compiler_core::judge::{Judge, Place};
use flock_compiler_core::object::Direction;
use flock_proto::v1;
use flock_proto::v1::end::End as Asked;

use super::answers::{Answer, Answers, NOTHING, another};
use super::others::{self, Lens, Others, Wanted};
use crate::shown::some_of;
use crate::{AskError, At, Cluster, Ends, workload};

/// A member is compared with so many groups of others.
const COMPARED: usize = 32;

/// Where something passes: the asked place and the class of the other one.
pub(super) type Between = (usize, u32);

/// Which addresses of two ends an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Via {
    /// Whichever they have.
    Any,
    /// All of a family.
    Family { is_v4: bool },
    /// An asked place and one of the other's by position: a contested address and another of its family differ.
    Places { asked: usize, other: usize },
}

/// What passes between two ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PairOutcome {
    /// For whichever of their addresses.
    Same(Answer, Between),
    /// By addresses; without those between which nothing passes.
    Split(Vec<(Via, Answer, Between)>),
    /// No packet can pass, or they are one end.
    Never,
}

impl PairOutcome {
    fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            // Where no packet can pass, nothing is said that another end could contradict.
            (Self::Never, _) | (_, Self::Never) => true,
            (Self::Same(a, _), Self::Same(b, _)) => a == b,
            // Places are of one end alone.
            (Self::Split(a), Self::Split(b)) => {
                let agrees = |(a, b): (&(Via, Answer, Between), &(Via, Answer, Between))| {
                    (a.0, a.1) == (b.0, b.1) && !matches!(a.0, Via::Places { .. })
                };
                a.len() == b.len() && a.iter().zip(b).all(agrees)
            }
            _ => false,
        }
    }
}

/// Asked ends that agree about every other end.
#[derive(Debug)]
pub(super) struct EndGroup {
    /// Positions of members.
    pub(super) members: Vec<usize>,
    /// What passes by list of classes.
    pub(super) outcomes: Vec<PairOutcome>,
    /// What they are all part of.
    pub(super) name: Option<String>,
}

/// What asked ends are part of, and how many of them are.
type MemberTotals = HashMap<String, usize>;

/// What passes between the asked ends and all others.
pub(super) struct Table<'a, 'w> {
    pub(super) judge: &'a Judge<'w>,
    /// That of the asked ends.
    pub(super) direction: Direction,
    pub(super) others: Others<'w>,
    pub(super) answers: Answers<'a, 'w>,
    /// The asked places.
    pub(super) places: Vec<&'a At>,
    /// The places of each pod, node or address that is asked about.
    pub(super) members: Vec<Vec<usize>>,
    pub(super) groups: Vec<EndGroup>,
    pub(super) endpoints_total: Option<u32>,
    totals: MemberTotals,
}

impl<'a, 'w> Table<'a, 'w> {
    pub(super) fn of(
        cluster: &Cluster<'w>,
        judge: &'a Judge<'w>,
        asked: Option<&v1::End>,
        ends: &'a Ends,
        direction: Direction,
        wanted: Wanted<'_>,
    ) -> Result<Self, AskError> {
        let places: Vec<&At> = ends.at.iter().collect();
        let owners = places.iter().flat_map(|at| at.place.owners.iter().cloned());
        let lens = Lens::of(&others::isolating(judge, owners, direction), direction);
        // A pod and its own node always reach each other: only to a node do nodes of pods make a difference.
        let by_node = places.iter().any(|at| at.place.host.is_some());
        let others = others::find(cluster, judge, lens, direction, wanted, by_node);
        let answers = Answers::of(judge, direction, &places, &others)?;
        let mut table = Self {
            judge,
            direction,
            others,
            answers,
            members: members(&places),
            places,
            groups: Vec::new(),
            endpoints_total: ends.endpoints_total,
            totals: MemberTotals::new(),
        };
        table.group(asked.and_then(|end| end.end.as_ref()));
        Ok(table)
    }

    /// Takes members together that are part of one workload or Service and agree.
    fn group(&mut self, asked: Option<&Asked>) {
        let (mut groups, mut totals): (Vec<EndGroup>, _) = (Vec::new(), MemberTotals::new());
        for (number, member) in self.members.iter().enumerate() {
            let outcomes: Vec<PairOutcome> =
                self.others.lists.iter().map(|list| self.outcome(member, list)).collect();
            let name = self.name(member, asked);
            if let Some(name) = &name {
                *totals.entry(name.clone()).or_default() += 1;
            }
            let fits = |group: &&mut EndGroup| {
                name.is_some()
                    && group.name == name
                    && group.outcomes.iter().zip(&outcomes).all(|(a, b)| a.agrees(b))
            };
            // Not with all: ends that all differ would cost the square of their number.
            match groups.iter_mut().rev().take(COMPARED).find(fits) {
                None => groups.push(EndGroup { members: vec![number], outcomes, name }),
                Some(group) => {
                    group.members.push(number);
                    for (known, found) in group.outcomes.iter_mut().zip(outcomes) {
                        // The first member may be the other end itself, which another member is not.
                        if *known == PairOutcome::Never {
                            *known = found;
                        }
                    }
                }
            }
        }
        (self.groups, self.totals) = (groups, totals);
    }

    fn name(&self, member: &[usize], asked: Option<&Asked>) -> Option<String> {
        let at = self.places.get(*member.first()?)?;
        match asked {
            Some(Asked::Service(service)) => Some(format!("{}/svc/{}", service.namespace, service.name)),
            Some(Asked::Workload(asked)) => {
                Some(format!("{}/{}/{}", asked.namespace, asked.kind, asked.name))
            }
            Some(Asked::Selection(_)) => {
                let pod = at.pod.as_ref()?;
                Some(format!("{}/{}", pod.key.namespace, workload(pod)?))
            }
            _ => None,
        }
    }

    fn outcome(&self, member: &[usize], list: &[u32]) -> PairOutcome {
        let mut found: Vec<(Option<bool>, Via, Answer, Between)> = Vec::new();
        for place in member {
            for (position, class) in list.iter().enumerate() {
                let Some(answer) = self.answers.at(*place, *class) else { continue };
                let own = self.places.get(*place).and_then(|at| at.place.address).map(|it| it.is_ipv4());
                let other = self.others.classes.get(*class as usize).and_then(|class| class.is_v4);
                let via = Via::Places { asked: *place, other: position };
                found.push((own.or(other), via, answer, (*place, *class)));
            }
        }
        let Some((_, _, first, between)) = found.first().copied() else { return PairOutcome::Never };
        if found.iter().all(|(_, _, answer, _)| *answer == first) {
            return PairOutcome::Same(first, between);
        }
        let mut split: Vec<(Via, Answer, Between)> = Vec::new();
        for family in [Some(true), Some(false), None] {
            let of_family = || found.iter().filter(|(of, ..)| *of == family);
            let Some((_, _, first, between)) = of_family().next() else { continue };
            match family {
                Some(is_v4) if of_family().all(|(_, _, answer, _)| answer == first) => {
                    split.push((Via::Family { is_v4 }, *first, *between));
                }
                _ => split.extend(of_family().map(|(_, via, answer, between)| (*via, *answer, *between))),
            }
        }
        split.retain(|(_, answer, _)| *answer != NOTHING);
        PairOutcome::Split(split)
    }

    /// The asked place and another one that are between these.
    pub(super) fn between(&self, (place, class): Between) -> Option<(&'a At, &Place)> {
        let at = *self.places.get(place)?;
        Some((at, another(&at.place, self.others.classes.get(class as usize)?)?))
    }

    /// How a group is shown; `place` is the one that was judged.
    pub(super) fn shown(&self, group: &EndGroup, place: usize) -> v1::ShownEnd {
        let mut shown = self.places.get(place).map(|at| at.shown.clone()).unwrap_or_default();
        if let (Some(name), 2..) = (&group.name, group.members.len()) {
            let workload = name.split_once('/').map(|(_, name)| name.to_owned());
            let (count, total) = (group.members.len(), self.totals.get(name).copied().unwrap_or_default());
            let what = if self.endpoints_total.is_some() { "endpoints" } else { "pods" };
            shown = v1::ShownEnd {
                name: match count == total {
                    true => name.clone(),
                    false => some_of(name, count, total, what, shown.pod.as_deref()),
                },
                namespace: shown.namespace,
                pods: u32::try_from(group.members.len()).unwrap_or(u32::MAX),
                workload: workload.filter(|_| self.endpoints_total.is_none()),
                ..v1::ShownEnd::default()
            };
        } else if group.members.first().and_then(|it| self.members.get(*it)).is_some_and(|it| it.len() > 1) {
            shown.address = None;
        }
        if self.endpoints_total.is_some() {
            shown.endpoints = u32::try_from(group.members.len()).ok();
            shown.endpoints_total = self.endpoints_total;
        }
        shown
    }

    /// The places of all members of a group.
    pub(super) fn places_of(&self, group: &EndGroup) -> impl Iterator<Item = (usize, &'a At)> {
        let members = group.members.iter().filter_map(|member| self.members.get(*member));
        members.flatten().filter_map(|place| Some((*place, *self.places.get(*place)?)))
    }
}

/// Places of one end that follow each other.
fn members(places: &[&At]) -> Vec<Vec<usize>> {
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (index, at) in places.iter().enumerate() {
        // A pod may be several endpoints of a Service, at ports of its own; the internet is one end of two families.
        let same = |other: usize| {
            places
                .get(other)
                .is_some_and(|other| other.shown.name == at.shown.name && other.target_port == at.target_port)
        };
        match members.last_mut() {
            Some(last) if last.first().is_some_and(|first| same(*first)) => last.push(index),
            _ => members.push(vec![index]),
        }
    }
    members
}
