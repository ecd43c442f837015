//! Which flows differ, and why: for every affected pod what its own policies allow before and after, for every end that they
//! can tell apart, and where that differs, what the other end's policies allow.
//!
//! ```text
//! opened = (own after ∩ other's after) − (own before ∩ other's before)      closed: the reverse
//! ```
//!
//! Ports are never looked at one by one. A pair whose two ends are both affected is found from both.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use flock_compiler_core::object::{Direction, NamedPort, Peer, PortMatch, RulePorts};
use flock_compiler_core::port::PortRange;
use flock_proto::v1::Change;
use flock_shared::NamespaceName;

use super::When;
use super::cells::{Affected, Cell, CellId, Cells, Family, GroupId, Kind, KindId, PortsId};
use super::objects::{Objects, PeerId, VersionId, slot};
use super::pieces::Within;
use super::work::Work;
use crate::AskError;
use crate::ports::Ports;

/// Flows between these ends that change in the same way for the same reasons.
#[derive(Debug, Clone)]
pub(super) struct Difference {
    /// In which direction the policies of the subjects look at them.
    pub direction: Direction,
    pub outcome: Outcome,
    pub subjects: Vec<CellId>,
    pub others: Vec<CellId>,
}

/// What becomes of flows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Outcome {
    pub change: Change,
    pub ports: Ports,
    /// By direction: what allows them, or what isolates the pod that denies them. In order.
    pub because: [Vec<Reason>; 2],
}

/// A policy, or a rule of it by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Reason {
    pub version: VersionId,
    pub rule: Option<usize>,
}

/// Other ends that the policies of some subjects do not tell apart, and who do not tell these apart.
#[derive(Debug)]
struct OtherClass {
    cells: Vec<CellId>,
    family: Family,
    /// What says what their policies say; `None`: they are looked at one by one.
    says: Option<(GroupId, PortsId)>,
}

/// What tells other ends apart.
#[derive(Debug, PartialEq, Eq, Hash)]
enum OtherLooks {
    Outside(Family, u32),
    Pods(Family, u32, u32, PortsId, GroupId),
    Contested(CellId),
}

/// Subjects with the same policies: what of them may differ, and the cells by their named ports.
type Subjects = (Affected, BTreeMap<Vec<PortsId>, Vec<CellId>>);

#[derive(Debug)]
pub(super) struct Comparison<'c, 'a> {
    pub objects: &'c Objects<'a>,
    pub cells: &'c Cells<'a>,
    pub work: &'c mut Work,
}

impl<'a> Comparison<'_, 'a> {
    /// All differences, in no particular order.
    pub(super) fn all(&mut self) -> Result<Vec<Difference>, AskError> {
        let mut differences = Vec::new();
        for direction in Direction::ALL {
            for (groups, (affected, by_ports)) in self.subjects(direction) {
                // Once for all of these subjects: named ports of subjects tell no other ends apart.
                let others = self.others(&groups, affected, direction)?;
                for subjects in by_ports.into_values() {
                    self.compare(direction, &subjects, &others, &mut differences)?;
                }
            }
        }
        Ok(differences)
    }

    fn subjects(&self, direction: Direction) -> BTreeMap<Vec<GroupId>, Subjects> {
        let mut all: BTreeMap<Vec<GroupId>, Subjects> = BTreeMap::new();
        for (id, cell) in self.cells.all() {
            let affected = cell.owners.iter().map(|kind| self.cells.affected(self.objects, *kind, direction));
            let Some(affected) = affected.max().filter(|affected| *affected > Affected::Not) else {
                continue;
            };
            let kinds = || cell.owners.iter().filter_map(|kind| self.cells.kind(*kind));
            let groups = kinds().map(|kind| kind.groups[slot(direction)]).collect();
            // Names of ports are looked up where a flow arrives.
            let is_named_here = direction == Direction::Ingress;
            let ports = kinds().filter(|_| is_named_here).map(|kind| kind.ports).collect();
            let (known, by_ports) = all.entry(groups).or_insert_with(|| (affected, BTreeMap::new()));
            *known = affected.max(*known);
            by_ports.entry(ports).or_default().push(id);
        }
        all
    }

    /// The other ends, by what the policies of these groups can tell of them.
    fn others(
        &mut self,
        groups: &[GroupId],
        affected: Affected,
        direction: Direction,
    ) -> Result<Vec<OtherClass>, AskError> {
        let (cells, objects) = (self.cells, self.objects);
        let mut looked_at = Seen::new(self.peers(groups, direction), cells, objects);
        let mut known: HashMap<OtherLooks, usize> = HashMap::new();
        let mut all: Vec<OtherClass> = Vec::new();
        // Where only labels of namespaces change, policies say the same as before of pods in all others.
        let is_all = affected == Affected::ByPolicies;
        let ends = is_all.then(|| cells.all()).into_iter().flatten();
        let of_changed = (!is_all).then(|| cells.of_changed_namespaces()).into_iter().flatten();
        for (id, cell) in ends.chain(of_changed) {
            self.work.spend(1)?;
            let (looks, says) = match *cell.owners {
                [] => (OtherLooks::Outside(cell.family, looked_at.blocks(cell.within)), None),
                [kind] => {
                    let Some(other) = cells.kind(kind) else { continue };
                    let seen = looked_at.pods(kind, other, self.work)?;
                    let group = other.groups[slot(reverse(direction))];
                    let blocks = looked_at.blocks(cell.within);
                    let looks = OtherLooks::Pods(cell.family, seen, blocks, other.ports, group);
                    (looks, Some((group, other.ports)))
                }
                _ => (OtherLooks::Contested(id), None),
            };
            let index = *known.entry(looks).or_insert_with(|| {
                all.push(OtherClass { cells: Vec::new(), family: cell.family, says });
                all.len() - 1
            });
            if let Some(others) = all.get_mut(index) {
                others.cells.push(id);
            }
        }
        Ok(all)
    }

    /// The peers that the policies of groups name.
    fn peers(&self, groups: &[GroupId], direction: Direction) -> BTreeSet<PeerId> {
        let groups = groups.iter().filter_map(|group| self.cells.group(*group));
        let versions: BTreeSet<VersionId> =
            groups.flat_map(|group| group.versions.iter().flatten().copied()).collect();
        let rules = versions.into_iter().flat_map(|version| self.objects.rules(version, direction));
        rules.flat_map(|rule| rule.peers.iter().flatten().copied()).collect()
    }

    fn compare(
        &mut self,
        direction: Direction,
        subjects: &[CellId],
        others: &[OtherClass],
        differences: &mut Vec<Difference>,
    ) -> Result<(), AskError> {
        let cells = self.cells;
        let Some(first) = subjects.first().and_then(|id| cells.cell(*id)) else { return Ok(()) };
        // What the subjects' policies say is the same for all of them.
        let mut told: Vec<(&OtherClass, &Cell, [Ports; 2])> = Vec::new();
        for others in others {
            let Some(other) = others.cells.first().and_then(|id| cells.cell(*id)) else { continue };
            let own = self.before_and_after(first, other, other.within, direction)?;
            // If only the other end's policies differ it is a subject, too, and this pair is found from there.
            if own[0] != own[1] {
                told.push((others, other, own));
            }
        }
        let mut alike: HashMap<Vec<(Outcome, Vec<u32>)>, Vec<CellId>> = HashMap::new();
        for id in subjects {
            let Some(subject) = cells.cell(*id) else { continue };
            let mut said: HashMap<(GroupId, PortsId), [Ports; 2]> = HashMap::new();
            let mut outcomes: BTreeMap<Outcome, Vec<u32>> = BTreeMap::new();
            for (index, (others, other, own)) in (0..).zip(&told) {
                // A contested address always reaches itself; any other cell may have several pods, which may not reach
                // each other.
                let is_itself = subject.owners.len() > 1 && *others.cells == [*id];
                if is_itself || !subject.family.talks_to(others.family) {
                    continue;
                }
                self.work.spend(2)?;
                let theirs = match others.says.as_ref().and_then(|says| said.get(says)) {
                    Some(known) => known.clone(),
                    None => {
                        let reverse = reverse(direction);
                        let theirs = self.before_and_after(other, subject, subject.within_all, reverse)?;
                        said.extend(others.says.map(|says| (says, theirs.clone())));
                        theirs
                    }
                };
                let [before, after] = [0, 1].map(|when| own[when].and(&theirs[when]));
                // There may be both: one port is opened while another one is closed.
                for (change, ports) in
                    [(Change::Opened, after.without(&before)), (Change::Closed, before.without(&after))]
                {
                    if !ports.is_empty() {
                        self.work.spend(ports.len())?;
                        let because = self.because(change, direction, subject, other, &ports)?;
                        outcomes.entry(Outcome { change, ports, because }).or_default().push(index);
                    }
                }
            }
            if !outcomes.is_empty() {
                alike.entry(outcomes.into_iter().collect()).or_default().push(*id);
            }
        }
        for (outcomes, subjects) in alike {
            for (outcome, indexes) in outcomes {
                let others = indexes.iter().filter_map(|index| told.get(*index as usize));
                let others: Vec<CellId> = others.flat_map(|(others, ..)| &others.cells).copied().collect();
                self.work.spend(others.len())?;
                differences.push(Difference { direction, outcome, subjects: subjects.clone(), others });
            }
        }
        Ok(())
    }

    /// What the policies at one end allow of the other before and after.
    fn before_and_after(
        &mut self,
        own: &Cell,
        other: &Cell,
        within: Option<Within>,
        direction: Direction,
    ) -> Result<[Ports; 2], AskError> {
        Ok([
            self.allowed(own, other, within, direction, When::Before)?,
            self.allowed(own, other, within, direction, When::After)?,
        ])
    }

    /// What passes for every owner of either end.
    fn allowed(
        &mut self,
        own: &Cell,
        other: &Cell,
        within: Option<Within>,
        direction: Direction,
        when: When,
    ) -> Result<Ports, AskError> {
        let mut all = Ports::everything();
        for (own, other) in pairs(self.cells, own, other) {
            let mut allowed = Vec::new();
            let is_all = self.each_rule(own, other, within, direction, when, |_, ports| match ports {
                None => true,
                Some(ports) => {
                    allowed.extend(ports);
                    false
                }
            })?;
            if !is_all {
                all = all.and(&Ports::union_of(allowed));
            }
        }
        Ok(all)
    }

    /// Why ports change.
    fn because(
        &mut self,
        change: Change,
        direction: Direction,
        subject: &Cell,
        other: &Cell,
        ports: &Ports,
    ) -> Result<[Vec<Reason>; 2], AskError> {
        let mut because = [Vec::new(), Vec::new()];
        let sides = [
            (direction, subject, other, other.within),
            (reverse(direction), other, subject, subject.within_all),
        ];
        for (direction, own, other, within) in sides {
            let mut reasons: BTreeSet<Reason> = BTreeSet::new();
            for (own, other) in pairs(self.cells, own, other) {
                // What is opened passes at both ends, and each rule that allows some of it is a reason: the look
                // never ends early.
                if change == Change::Opened {
                    self.each_rule(own, other, within, direction, When::After, |reason, allowed| {
                        let is_one = allowed.is_none_or(|all| !Ports::union_of(all).and(ports).is_empty());
                        reasons.extend(is_one.then_some(reason).flatten());
                        false
                    })?;
                    continue;
                }
                let mut allowed = Vec::new();
                let is_all = self.each_rule(own, other, within, direction, When::After, |_, more| {
                    allowed.extend(more.iter().flatten());
                    more.is_none()
                })?;
                // An end that still allows all of it does not close it.
                if !is_all && !ports.without(&Ports::union_of(allowed)).is_empty() {
                    reasons
                        .extend(self.isolating(own, direction).map(|version| Reason { version, rule: None }));
                }
            }
            because[slot(direction)] = reasons.into_iter().collect();
        }
        Ok(because)
    }

    /// The policies that isolate a pod after.
    fn isolating(&self, own: &Kind<'a>, direction: Direction) -> impl Iterator<Item = VersionId> {
        let group = self.cells.group(own.groups[slot(direction)]);
        group.into_iter().flat_map(|group| group.versions[When::After as usize].iter().copied())
    }

    /// Looks at each rule that has the other end as a peer, until one is enough, with its ports (`None`: any). Where nothing
    /// isolates the pod that is one without a reason. Returns true if one was enough.
    fn each_rule(
        &mut self,
        own: &Kind<'a>,
        other: Option<&Kind<'a>>,
        within: Option<Within>,
        direction: Direction,
        when: When,
        mut look: impl FnMut(Option<Reason>, Option<Vec<PortRange>>) -> bool,
    ) -> Result<bool, AskError> {
        let (objects, cells) = (self.objects, self.cells);
        let Some(group) = cells.group(own.groups[slot(direction)]) else { return Ok(false) };
        let versions = &group.versions[when as usize];
        if versions.is_empty() {
            return Ok(look(None, None));
        }
        let destination = match direction {
            Direction::Ingress => Some(own),
            Direction::Egress => other,
        };
        let blocks = within.map_or(&[][..], |within| cells.withins.blocks(within));
        for version in versions {
            for (index, rule) in objects.rules(*version, direction).iter().enumerate() {
                self.work.spend(1 + rule.peers.as_ref().map_or(0, Vec::len))?;
                let is_peer = |peer: &PeerId| match objects.peer(*peer) {
                    Some(Peer::Block(_)) => blocks.binary_search(peer).is_ok(),
                    Some(Peer::Pods(peer)) => other.is_some_and(|other| {
                        objects.selects(peer, &other.pod.key.namespace, &other.pod.labels, when)
                    }),
                    None => false,
                };
                if !rule.peers.as_ref().is_none_or(|peers| peers.iter().any(is_peer)) {
                    continue;
                }
                let ports = match rule.ports {
                    RulePorts::Any => None,
                    RulePorts::OneOf(ports) => {
                        self.work.spend(ports.len())?;
                        Some(numbers(ports, destination.map(|kind| cells.named_ports(kind.ports))))
                    }
                };
                let reason = Reason { version: *version, rule: Some(index) };
                if look(Some(reason), ports) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// The direction that looks at the same flows from the other end.
pub(super) const fn reverse(direction: Direction) -> Direction {
    match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    }
}

/// Every owner of one end with every owner of the other, or with nobody.
fn pairs<'c, 'a>(
    cells: &'c Cells<'a>,
    own: &Cell,
    other: &Cell,
) -> Vec<(&'c Kind<'a>, Option<&'c Kind<'a>>)> {
    let kinds = |cell: &Cell| -> Vec<&'c Kind<'a>> {
        cell.owners.iter().filter_map(|kind| cells.kind(*kind)).collect()
    };
    let (own, other) = (kinds(own), kinds(other));
    let nobody = other.is_empty().then_some(None);
    let others: Vec<Option<&Kind<'a>>> = other.into_iter().map(Some).chain(nobody).collect();
    own.into_iter().flat_map(|own| others.iter().map(move |other| (own, *other))).collect()
}

/// The numbers of a rule's ports, given how the destination calls its own.
fn numbers(ports: &[PortMatch], named: Option<&[&NamedPort]>) -> Vec<PortRange> {
    let mut ranges = Vec::with_capacity(ports.len());
    for port in ports {
        match port {
            PortMatch::Range(range) => ranges.push(*range),
            PortMatch::Named { protocol, name } => {
                let own = named.into_iter().flatten();
                let own = own.filter(|own| own.protocol == *protocol && own.name == *name);
                ranges.extend(own.map(|own| PortRange::single(*protocol, own.number)));
            }
        }
    }
    ranges
}

/// What some peers can tell of ends: which of them match, by numbers.
struct Seen<'c, 'a> {
    objects: &'c Objects<'a>,
    cells: &'c Cells<'a>,
    peers: BTreeSet<PeerId>,
    /// Those by pods that may match in the namespace that was looked at last.
    here: Vec<(PeerId, [bool; 2])>,
    namespace: Option<&'a NamespaceName>,
    matched: HashMap<Vec<(PeerId, [bool; 2])>, u32>,
    by_kind: HashMap<KindId, u32>,
    by_within: HashMap<Option<Within>, u32>,
    within: HashMap<Vec<PeerId>, u32>,
}

impl<'c, 'a> Seen<'c, 'a> {
    fn new(peers: BTreeSet<PeerId>, cells: &'c Cells<'a>, objects: &'c Objects<'a>) -> Self {
        Self {
            objects,
            cells,
            peers,
            here: Vec::new(),
            namespace: None,
            matched: HashMap::new(),
            by_kind: HashMap::new(),
            by_within: HashMap::new(),
            within: HashMap::new(),
        }
    }

    /// A number for the blocks among the peers that these addresses are in.
    fn blocks(&mut self, within: Option<Within>) -> u32 {
        if let Some(known) = self.by_within.get(&within) {
            return *known;
        }
        let all = within.map_or(&[][..], |within| self.cells.withins.blocks(within));
        let all: Vec<PeerId> = all.iter().copied().filter(|peer| self.peers.contains(peer)).collect();
        let next = u32::try_from(self.within.len()).unwrap_or(u32::MAX);
        let number = *self.within.entry(all).or_insert(next);
        self.by_within.insert(within, number);
        number
    }

    /// A number for the peers that pods of a kind are.
    fn pods(&mut self, id: KindId, kind: &Kind<'a>, work: &mut Work) -> Result<u32, AskError> {
        if let Some(known) = self.by_kind.get(&id) {
            return Ok(*known);
        }
        let namespace = &kind.pod.key.namespace;
        // Cells are in the order of pods, so a namespace is mostly come to once; coming back to it costs steps alone.
        if self.namespace != Some(namespace) {
            work.spend(self.peers.len())?;
            self.namespace = Some(namespace);
            self.here.clear();
            for id in &self.peers {
                let Some(Peer::Pods(peer)) = self.objects.peer(*id) else { continue };
                let matches = When::ALL.map(|when| self.objects.reaches(peer, namespace, when));
                if matches != [false, false] {
                    self.here.push((*id, matches));
                }
            }
        }
        work.spend(self.here.len())?;
        let matches = |(id, _): &&(PeerId, [bool; 2])| match self.objects.peer(*id) {
            Some(Peer::Pods(peer)) => peer.pods.matches(&kind.pod.labels),
            Some(Peer::Block(_)) | None => false,
        };
        // With before and after: what a peer matches may change with the labels of the namespace.
        let matched: Vec<_> = self.here.iter().filter(matches).copied().collect();
        let next = u32::try_from(self.matched.len()).unwrap_or(u32::MAX);
        let number = *self.matched.entry(matched).or_insert(next);
        self.by_kind.insert(id, number);
        Ok(number)
    }
}
