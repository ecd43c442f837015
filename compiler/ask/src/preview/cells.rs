//! Cells: ends that nothing in play tells apart.
//!
//! ```text
//! pods ── namespace, labels that selectors ask for, port names that rules use ──▶ kinds ── policies that isolate them ──▶ groups
//! kinds, and the blocks that their addresses are in ──▶ cells; addresses that no pod has, by the blocks that they are in ──▶ cells
//! ```

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use flock_compiler_core::World;
use flock_compiler_core::block::Blocks;
use flock_compiler_core::object::{Direction, Lifecycle, NamedPort, Peer, Pod};
use ipnet::IpNet;

use super::When;
use super::objects::{Objects, PeerId, VersionId, Vocabulary, slot};
use super::pieces::{Piece, Pieces, Within, Withins};
use super::work::Work;
use crate::AskError;

/// Position of a pod.
pub(super) type PodIndex = u32;

macro_rules! ids {
    ($($(#[$doc:meta])* $id:ident),+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(super) struct $id(pub u32);
    )+};
}

ids! {
    /// Pods that no selector and no port name tells apart.
    KindId,
    /// The policies that isolate pods in a direction, before and after.
    GroupId,
    /// Named ports of pods, as far as rules use their names.
    PortsId,
    /// Ends that nothing tells apart.
    CellId
}

/// Pods that no selector and no port name tells apart.
#[derive(Debug)]
pub(super) struct Kind<'a> {
    /// One of them.
    pub pod: &'a Arc<Pod>,
    pub ports: PortsId,
    /// By direction.
    pub groups: [GroupId; 2],
}

/// The policies that isolate pods in a direction.
#[derive(Debug, PartialEq, Eq, Hash, Clone)]
pub(super) struct Group {
    pub direction: Direction,
    /// Before and after.
    pub versions: [Vec<VersionId>; 2],
}

/// Which addresses can talk to each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    V4,
    V6,
    /// No address is known.
    #[default]
    Any,
}

impl Family {
    pub(super) const fn talks_to(self, other: Self) -> bool {
        matches!((self, other), (Self::Any, _) | (_, Self::Any) | (Self::V4, Self::V4) | (Self::V6, Self::V6))
    }
}

/// Ends that nothing tells apart.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// Kinds of the pods that own each place; several: it is one contested address.
    pub owners: Vec<KindId>,
    pub family: Family,
    /// The blocks of affected policies that its addresses are in; `None`: no address is known.
    pub within: Option<Within>,
    /// For an affected pod, of all policies.
    pub within_all: Option<Within>,
    pub pods: Vec<PodIndex>,
    /// Where no pod is.
    pub pieces: Vec<Piece>,
    /// Whether one of the pieces has an address that is nobody's.
    pub is_free: bool,
}

/// All ends, and what tells them apart.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    pub pods: Vec<&'a Arc<Pod>>,
    kinds: Vec<Kind<'a>>,
    groups: Vec<Group>,
    ports: Vec<Vec<&'a NamedPort>>,
    cells: Vec<Cell>,
    /// Those with a pod of a namespace that changes.
    of_changed: Vec<CellId>,
    pub withins: Withins,
    pub pieces: Pieces,
}

/// How much of what a pod's policies say may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Affected {
    /// Nothing.
    Not,
    /// What they say of pods of namespaces that change.
    ByNamespaces,
    /// All.
    ByPolicies,
}

impl<'a> Cells<'a> {
    pub(super) fn new(world: &'a World, objects: &Objects<'a>, work: &mut Work) -> Result<Self, AskError> {
        let words = objects.vocabulary();
        let has_place = |pod: &&Arc<Pod>| !pod.is_of_host_network() && pod.lifecycle != Lifecycle::Finished;
        let pods: Vec<&Arc<Pod>> = world.pods().values().filter(has_place).collect();
        work.spend(pods.len())?;
        let mut kinds = Kinds::default();
        let of_pod: Vec<KindId> =
            pods.iter().map(|pod| kinds.of(pod, &words, objects, work)).collect::<Result<_, _>>()?;
        let Kinds { kinds, groups, ports, .. } = kinds;
        let mut cells = Self {
            pods,
            kinds,
            groups,
            ports,
            cells: Vec::new(),
            of_changed: Vec::new(),
            withins: Withins::default(),
            pieces: Pieces::cut(&[], None, &mut Withins::default(), work)?,
        };
        // If no pod is affected no flow differs, and there is nothing that cells would be compared for.
        if of_pod.iter().any(|kind| cells.is_affected(objects, *kind)) {
            cells.fill(world, objects, &of_pod, work)?;
            cells.of_changed = cells
                .all()
                .filter(|(_, cell)| cells.is_of_changed(objects, cell))
                .map(|(id, _)| id)
                .collect();
        }
        Ok(cells)
    }

    fn is_affected(&self, objects: &Objects<'_>, kind: KindId) -> bool {
        Direction::ALL.iter().any(|direction| self.affected(objects, kind, *direction) > Affected::Not)
    }

    /// How much of what a kind's policies say in a direction may differ.
    pub(super) fn affected(&self, objects: &Objects<'_>, kind: KindId, direction: Direction) -> Affected {
        self.group_of(kind, direction).map_or(Affected::Not, |group| affected(objects, group))
    }

    /// Finds all places, and puts those that nothing tells apart together.
    fn fill(
        &mut self,
        world: &'a World,
        objects: &Objects<'a>,
        of_pod: &[KindId],
        work: &mut Work,
    ) -> Result<(), AskError> {
        let is_affected: Vec<bool> = (0..self.kinds.len())
            .map(|kind| self.is_affected(objects, KindId(u32::try_from(kind).unwrap_or(u32::MAX))))
            .collect();
        let is_affected = |pod: usize| {
            of_pod.get(pod).and_then(|kind| is_affected.get(kind.0 as usize)).copied().unwrap_or_default()
        };
        let places = Places::of(&self.pods);
        let mut subjects: Vec<IpAddr> = Vec::new();
        for (_, pod) in self.pods.iter().enumerate().filter(|(pod, _)| is_affected(*pod)) {
            work.spend(1)?;
            subjects.extend(pod.addresses().into_iter().flatten());
        }
        // Other ends are looked at by affected pods' policies alone; affected pods by those of any other end.
        let own = self.blocks_of_affected(objects);
        let all = self.blocks(objects, objects.versions());
        self.pieces = Pieces::cut(&own, None, &mut self.withins, work)?;
        let pieces_of_all = Pieces::cut(&all, Some(&subjects), &mut self.withins, work)?;
        let addresses: Vec<IpAddr> = places.all.iter().filter_map(|(address, _)| *address).collect();
        let mut known: HashMap<(KindId, Family, Option<Within>, Option<Within>), CellId> = HashMap::new();
        for (address, owners) in &places.all {
            work.spend(1)?;
            let address = *address;
            let piece = address.map(|address| self.pieces.of(address));
            let owners = owners.pods();
            let is_subject = owners.iter().any(|pod| is_affected(*pod as usize));
            let within = piece.and_then(|piece| self.pieces.within(piece));
            let within_all = address.filter(|_| is_subject);
            let within_all = within_all.and_then(|address| pieces_of_all.within(pieces_of_all.of(address)));
            let family = match address {
                None => Family::Any,
                Some(IpAddr::V4(_)) => Family::V4,
                Some(IpAddr::V6(_)) => Family::V6,
            };
            let kind = |pod: &PodIndex| of_pod.get(*pod as usize).copied();
            let new = || {
                let owners = owners.iter().filter_map(kind).collect();
                Cell { owners, family, within, within_all, ..Cell::default() }
            };
            let id = match owners {
                [pod] => {
                    let Some(kind) = kind(pod) else { continue };
                    let key = (kind, family, within, within_all);
                    *known.entry(key).or_insert_with(|| push(&mut self.cells, new()))
                }
                // A contested address passes what all of its owners would let pass, and is like no other.
                _ => push(&mut self.cells, new()),
            };
            if let Some(cell) = self.cells.get_mut(id.0 as usize) {
                cell.pods.extend_from_slice(owners);
            }
        }
        self.add_outside(world, &addresses, work)
    }

    /// Adds addresses that no pod and no node has. Nobody else is in the blocks of nodes' pods.
    fn add_outside(&mut self, world: &World, addresses: &[IpAddr], work: &mut Work) -> Result<(), AskError> {
        let pod_cidrs = pod_cidrs(world);
        let mut taken: HashMap<Piece, HashSet<IpAddr>> = HashMap::new();
        // Those in blocks of nodes' pods are left out on both sides: `left` has none of them either.
        let of_nodes = world.nodes().values().flat_map(|node| node.addresses.iter());
        for address in of_nodes.chain(addresses).filter(|address| !pod_cidrs.contains(**address)) {
            taken.entry(self.pieces.of(*address)).or_default().insert(*address);
        }
        let mut known: HashMap<(Family, Option<Within>), CellId> = HashMap::new();
        let steps = 1 + pod_cidrs.v4.len() + pod_cidrs.v6.len();
        for piece in self.pieces.all() {
            // Each piece is cut by all blocks of nodes' pods.
            work.spend(steps)?;
            let family = match piece {
                Piece::V4(_) => Family::V4,
                Piece::V6(_) => Family::V6,
            };
            let within = self.pieces.within(piece);
            let left = size(&self.pieces.addresses([piece]).without(&pod_cidrs));
            // Counted, for there may be more addresses than can be looked at.
            let is_free = left > taken.get(&piece).map_or(0, |taken| taken.len() as u128);
            let id = *known
                .entry((family, within))
                .or_insert_with(|| push(&mut self.cells, Cell { family, within, ..Cell::default() }));
            if let Some(cell) = self.cells.get_mut(id.0 as usize) {
                cell.pieces.push(piece);
                cell.is_free |= is_free;
            }
        }
        Ok(())
    }

    /// The blocks that versions name.
    fn blocks(
        &self,
        objects: &Objects<'a>,
        versions: impl Iterator<Item = VersionId>,
    ) -> Vec<(PeerId, &'a Blocks)> {
        let mut peers: Vec<PeerId> = Vec::new();
        for version in versions {
            for direction in Direction::ALL {
                peers.extend(
                    objects.rules(version, direction).iter().flat_map(|rule| rule.peers.iter().flatten()),
                );
            }
        }
        peers.sort_unstable();
        peers.dedup();
        let block = |peer: PeerId| match objects.peer(peer)? {
            Peer::Block(block) => Some((peer, block.blocks())),
            Peer::Pods(_) => None,
        };
        peers.into_iter().filter_map(block).collect()
    }

    fn blocks_of_affected(&self, objects: &Objects<'a>) -> Vec<(PeerId, &'a Blocks)> {
        let mut versions: Vec<VersionId> = self
            .groups
            .iter()
            .filter(|group| affected(objects, group) > Affected::Not)
            .flat_map(|group| group.versions.iter().flatten().copied())
            .collect();
        versions.sort_unstable();
        versions.dedup();
        self.blocks(objects, versions.into_iter())
    }

    pub(super) fn kind(&self, id: KindId) -> Option<&Kind<'a>> {
        self.kinds.get(id.0 as usize)
    }

    pub(super) fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id.0 as usize)
    }

    fn group_of(&self, kind: KindId, direction: Direction) -> Option<&Group> {
        self.group(self.kind(kind)?.groups[slot(direction)])
    }

    /// The named ports that are known by a number.
    pub(super) fn named_ports(&self, id: PortsId) -> &[&'a NamedPort] {
        self.ports.get(id.0 as usize).map_or(&[], |ports| ports)
    }

    pub(super) fn cell(&self, id: CellId) -> Option<&Cell> {
        self.cells.get(id.0 as usize)
    }

    fn is_of_changed(&self, objects: &Objects<'_>, cell: &Cell) -> bool {
        let mut kinds = cell.owners.iter().filter_map(|kind| self.kind(*kind));
        kinds.any(|kind| objects.changed_namespaces.contains(&kind.pod.key.namespace))
    }

    /// The cells with a pod of a namespace that changes.
    pub(super) fn of_changed_namespaces(&self) -> impl Iterator<Item = (CellId, &Cell)> {
        self.of_changed.iter().filter_map(|id| Some((*id, self.cell(*id)?)))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (CellId, &Cell)> {
        self.cells.iter().zip(0..).map(|(cell, number)| (CellId(number), cell))
    }
}

fn affected(objects: &Objects<'_>, group: &Group) -> Affected {
    let [before, after] = &group.versions;
    if before != after {
        Affected::ByPolicies
    } else if before.iter().any(|version| objects.tells_apart(*version, group.direction)) {
        Affected::ByNamespaces
    } else {
        Affected::Not
    }
}

fn owners_of(pods: &[PodIndex]) -> Owners {
    match pods {
        [pod] => Owners::One(*pod),
        pods => Owners::Several(pods.to_vec()),
    }
}

fn push(cells: &mut Vec<Cell>, cell: Cell) -> CellId {
    let id = CellId(u32::try_from(cells.len()).unwrap_or(u32::MAX));
    cells.push(cell);
    id
}

/// Kinds as they are found.
#[derive(Debug, Default)]
struct Kinds<'a> {
    kinds: Vec<Kind<'a>>,
    groups: Vec<Group>,
    ports: Vec<Vec<&'a NamedPort>>,
    by_looks: HashMap<PodLooks<'a>, KindId>,
    group_ids: HashMap<Group, GroupId>,
    port_ids: HashMap<Vec<&'a NamedPort>, PortsId>,
}

/// What selectors and rules can tell of a pod.
type PodLooks<'a> = (&'a str, Vec<(u32, u32)>, PortsId);

impl<'a> Kinds<'a> {
    fn of(
        &mut self,
        pod: &'a Arc<Pod>,
        words: &Vocabulary<'a>,
        objects: &Objects<'a>,
        work: &mut Work,
    ) -> Result<KindId, AskError> {
        let ports: Vec<&NamedPort> =
            pod.ports.iter().filter(|port| words.port_names.contains(&port.name)).collect();
        let ports = match self.port_ids.get(&ports) {
            Some(known) => *known,
            None => {
                let id = PortsId(u32::try_from(self.ports.len()).unwrap_or(u32::MAX));
                self.ports.push(ports.clone());
                self.port_ids.insert(ports, id);
                id
            }
        };
        let told = pod.labels.iter().filter_map(|(key, value)| {
            let (key, values) = words.keys.get(key)?;
            // A value that nobody asks for is told as 0, and not left out: some selectors ask for the key alone.
            Some((*key, values.get(value).copied().unwrap_or_default()))
        });
        let looks = (pod.key.namespace.as_str(), told.collect(), ports);
        if let Some(known) = self.by_looks.get(&looks) {
            return Ok(*known);
        }
        let mut groups = [GroupId(0), GroupId(0)];
        for direction in Direction::ALL {
            groups[slot(direction)] = self.group(pod, direction, objects, work)?;
        }
        let id = KindId(u32::try_from(self.kinds.len()).unwrap_or(u32::MAX));
        self.kinds.push(Kind { pod, ports, groups });
        self.by_looks.insert(looks, id);
        Ok(id)
    }

    fn group(
        &mut self,
        pod: &Pod,
        direction: Direction,
        objects: &Objects<'a>,
        work: &mut Work,
    ) -> Result<GroupId, AskError> {
        let mut versions = [Vec::new(), Vec::new()];
        for when in When::ALL {
            let all = objects.versions_in(&pod.key.namespace, when);
            work.spend(1 + all.len())?;
            let isolates = |version: &&VersionId| {
                objects.policy(**version).is_some_and(|policy| {
                    policy.rules(direction).is_some() && policy.pod_selector.matches(&pod.labels)
                })
            };
            versions[when as usize] = all.iter().filter(isolates).copied().collect();
        }
        let group = Group { direction, versions };
        if let Some(known) = self.group_ids.get(&group) {
            return Ok(*known);
        }
        let id = GroupId(u32::try_from(self.groups.len()).unwrap_or(u32::MAX));
        self.groups.push(group.clone());
        self.group_ids.insert(group, id);
        Ok(id)
    }
}

/// Where pods are: each address with the pods that own it, and pods that are at none.
#[derive(Debug, Default)]
struct Places {
    all: Vec<(Option<IpAddr>, Owners)>,
}

/// The pods that own an address: nearly always one.
#[derive(Debug)]
enum Owners {
    One(PodIndex),
    Several(Vec<PodIndex>),
}

impl Owners {
    fn pods(&self) -> &[PodIndex] {
        match self {
            Self::One(pod) => std::slice::from_ref(pod),
            Self::Several(pods) => pods,
        }
    }
}

impl Places {
    fn of(pods: &[&Arc<Pod>]) -> Self {
        let mut first: HashMap<IpAddr, PodIndex> = HashMap::with_capacity(pods.len());
        let mut contested: HashMap<IpAddr, Vec<PodIndex>> = HashMap::new();
        let indexed = || (0..).zip(pods.iter());
        for (index, pod) in indexed() {
            for address in pod.addresses().into_iter().flatten() {
                let owner = *first.entry(*address).or_insert(index);
                if owner != index {
                    contested.entry(*address).or_insert_with(|| vec![owner]).push(index);
                }
            }
        }
        let claim = |index: &PodIndex| pods.get(*index as usize).map(|pod| pod.claim());
        for owners in contested.values_mut() {
            // As the judge has it: of several claims the strongest counts, and all that are as strong.
            let strongest = owners.iter().filter_map(claim).max();
            owners.retain(|owner| claim(owner) == strongest);
        }
        let mut places = Self::default();
        for (index, pod) in indexed() {
            let mut is_somewhere = false;
            for address in pod.addresses().into_iter().flatten() {
                match contested.get(address) {
                    None => places.all.push((Some(*address), Owners::One(index))),
                    // A stronger claim has the address: this pod is not there.
                    Some(owners) if !owners.contains(&index) => continue,
                    // The first owner stands for all, so that the address is one place.
                    Some(owners) if owners.first() == Some(&index) => {
                        places.all.push((Some(*address), owners_of(owners)));
                    }
                    Some(_) => {}
                }
                is_somewhere = true;
            }
            if !is_somewhere {
                places.all.push((None, Owners::One(index)));
            }
        }
        places
    }
}

/// The blocks of nodes' pods.
fn pod_cidrs(world: &World) -> Blocks {
    let all = world.nodes().values().flat_map(|node| node.pod_cidrs.iter());
    let all: Vec<Blocks> = all
        .filter_map(|block| Some(Blocks::of(&IpNet::new(block.first(), block.prefix()).ok()?, &[])))
        .collect();
    Blocks::union_of(&all)
}

/// How many addresses there are; the largest number for all of IPv6.
fn size(blocks: &Blocks) -> u128 {
    let v4 = blocks.v4.iter().map(|(first, last)| u128::from(last - first) + 1).sum::<u128>();
    let v6 = blocks.v6.iter().map(|(first, last)| (last - first).saturating_add(1));
    v6.fold(v4, u128::saturating_add)
}
