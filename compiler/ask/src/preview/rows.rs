//! Rows: differences, with the names of their ends and the reasons in words.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use flock_compiler_core::object::{Direction, PortMatch};
use flock_proto::v1;
use flock_shared::listed;

use super::cells::{Cell, Cells};
use super::differences::{Difference, Outcome, Reason, reverse};
use super::names::{MOST, Name, Names};
use super::objects::{Objects, VersionId, ports_of, ranges_of, slot};
use super::work::Work;
use super::{namespace_title, policy_title};
use crate::cite::{Meta, meta, policy_name};
use crate::ports::Mentions;
use crate::{AskError, Sight};

/// As many rows are an answer.
const ROWS: usize = 10_000;
/// As many reasons of a row are told; the words say how many more there are.
const CITES: usize = 16;
/// Steps that a row stands for, and each of its atoms: they are kept until all is answered.
const ROW: usize = 64;
const ATOM: usize = 32;

/// The order of rows, in which each is once.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RowKey(i32, String, String, Vec<(String, u32, u32, bool)>, String);

impl RowKey {
    fn of(row: &v1::PreviewRow) -> Self {
        let name = |end: &Option<v1::ShownEnd>| end.as_ref().map(|end| end.name.clone()).unwrap_or_default();
        let ports = row.ports.iter();
        let ports =
            ports.map(|port| (port.protocol.clone(), port.first, port.last, port.any_other)).collect();
        Self(row.change, name(&row.from), name(&row.to), ports, row.because.clone())
    }
}

/// A difference, and whether reasons of the other ends were left out.
#[derive(Debug)]
struct United {
    difference: Difference,
    others_differ: bool,
}

impl std::ops::Deref for United {
    type Target = Difference;
    fn deref(&self) -> &Difference {
        &self.difference
    }
}

/// Puts those together that differ in the reasons of the other ends only, where they are too many to be read.
fn united(differences: Vec<Difference>) -> Vec<United> {
    let mut alike: BTreeMap<_, Vec<Difference>> = BTreeMap::new();
    for difference in differences {
        let Outcome { change, ports, because } = &difference.outcome;
        let own = because[slot(difference.direction)].clone();
        let key =
            (slot(difference.direction), difference.subjects.clone(), *change as i32, ports.clone(), own);
        alike.entry(key).or_default().push(difference);
    }
    let mut all = Vec::new();
    for mut differences in alike.into_values() {
        if differences.len() <= MOST {
            let told = differences.into_iter().map(|difference| United { difference, others_differ: false });
            all.extend(told);
            continue;
        }
        let rest = differences.split_off(1);
        all.extend(differences.pop().map(|mut difference| {
            difference.outcome.because[slot(reverse(difference.direction))].clear();
            difference.others.extend(rest.iter().flat_map(|one| &one.others));
            United { difference, others_differ: true }
        }));
    }
    all
}

/// Writes rows.
#[derive(Debug)]
pub(super) struct Writer<'c, 'a> {
    objects: &'c Objects<'a>,
    cells: &'c Cells<'a>,
    origins: &'c BTreeMap<String, Arc<str>>,
    sight: &'c Sight,
    names: Names<'c, 'a>,
}

impl<'c, 'a> Writer<'c, 'a> {
    pub(super) fn new(
        objects: &'c Objects<'a>,
        cells: &'c Cells<'a>,
        origins: &'c BTreeMap<String, Arc<str>>,
        sight: &'c Sight,
    ) -> Self {
        Self { objects, cells, origins, sight, names: Names::new(cells, sight) }
    }

    /// What is opened first, then by names.
    pub(super) fn rows(
        &self,
        differences: Vec<Difference>,
        work: &mut Work,
    ) -> Result<Vec<v1::PreviewRow>, AskError> {
        let mut rows: BTreeMap<RowKey, v1::PreviewRow> = BTreeMap::new();
        for difference in united(differences) {
            let subjects = self.names.of(&difference.subjects, work)?;
            let others = self.names.of(&difference.others, work)?;
            let told = self.told(&difference, work)?;
            // Before they are written: names of both ends multiply.
            work.spend((ROW + ATOM * told.ports.len()) * subjects.len() * others.len())?;
            for subject in &subjects {
                // A pod always reaches itself, whatever its policies say.
                let is_other = |other: &&Name| subject.only.is_none() || subject.only != other.only;
                for other in others.iter().filter(is_other) {
                    let (from, to) = match difference.direction {
                        Direction::Ingress => (other, subject),
                        Direction::Egress => (subject, other),
                    };
                    let (from, to) = (Some(from.shown.clone()), Some(to.shown.clone()));
                    let row = v1::PreviewRow { from, to, ..told.clone() };
                    // A pair of two affected ends is found from both: equal rows are told once.
                    rows.insert(RowKey::of(&row), row);
                }
            }
            if rows.len() > ROWS {
                return Err(AskError::TooLarge(format!(
                    "more than {ROWS} rows would change: preview fewer policies at once"
                )));
            }
        }
        Ok(rows.into_values().collect())
    }

    /// What all rows of a difference have in common.
    fn told(&self, difference: &United, work: &mut Work) -> Result<v1::PreviewRow, AskError> {
        let Outcome { change, ports, .. } = &difference.outcome;
        let (because, cites) = self.because(difference);
        let versions = self.versions(difference);
        for (version, direction) in &versions {
            let rules = self.objects.rules(*version, *direction).iter();
            work.spend(1 + rules.map(|rule| 1 + ports_of(rule.ports).len()).sum::<usize>())?;
        }
        Ok(v1::PreviewRow {
            change: (*change).into(),
            ports: ports.atoms(&self.mentions(difference, &versions)),
            everything: ports.is_everything(),
            because,
            cites,
            objects: self.proposed(difference, &versions),
            ..v1::PreviewRow::default()
        })
    }

    /// One pair of cells of a difference.
    fn ends(&self, difference: &Difference) -> Option<(&Cell, &Cell)> {
        let subject = self.cells.cell(*difference.subjects.first()?)?;
        Some((subject, self.cells.cell(*difference.others.first()?)?))
    }

    /// The versions that isolate one pair of ends before or after, with the direction in which they do.
    fn versions(&self, difference: &Difference) -> BTreeSet<(VersionId, Direction)> {
        let Some((subject, other)) = self.ends(difference) else { return BTreeSet::new() };
        let mut versions = BTreeSet::new();
        for (cell, direction) in [(subject, difference.direction), (other, reverse(difference.direction))] {
            for kind in cell.owners.iter().filter_map(|kind| self.cells.kind(*kind)) {
                let group = self.cells.group(kind.groups[slot(direction)]);
                let all = group.into_iter().flat_map(|group| group.versions.iter().flatten());
                versions.extend(all.map(|version| (*version, direction)));
            }
        }
        versions
    }

    /// The ports that the policies in play name.
    fn mentions(&self, difference: &Difference, versions: &BTreeSet<(VersionId, Direction)>) -> Mentions {
        let mut mentions = Mentions::default();
        let Some((subject, other)) = self.ends(difference) else { return mentions };
        let destination = if difference.direction == Direction::Ingress { subject } else { other };
        let kinds = destination.owners.iter().filter_map(|kind| self.cells.kind(*kind));
        let named = kinds.flat_map(|kind| self.cells.named_ports(kind.ports));
        let by_name: HashMap<_, Vec<u16>> = named.fold(HashMap::new(), |mut all, port| {
            all.entry((port.protocol, &port.name)).or_insert_with(Vec::new).push(port.number);
            all
        });
        for (version, direction) in versions {
            for rule in self.objects.rules(*version, *direction) {
                mentions.ports.extend(ranges_of(rule.ports));
                for port in ports_of(rule.ports) {
                    let PortMatch::Named { protocol, name } = port else { continue };
                    for number in by_name.get(&(*protocol, name)).into_iter().flatten() {
                        mentions.names.insert((*protocol, *number), name.clone());
                    }
                }
            }
        }
        mentions
    }

    /// The proposed objects that bring it about.
    fn proposed(
        &self,
        difference: &Difference,
        versions: &BTreeSet<(VersionId, Direction)>,
    ) -> Vec<v1::ProposedObject> {
        let versions = versions.iter().map(|(version, _)| *version);
        let policies = versions.filter(|version| self.objects.is_changed(*version));
        let policies = policies.filter_map(|version| self.objects.policy(version));
        let mut all: BTreeSet<String> = policies.map(|policy| policy_title(&policy.key)).collect();
        if let Some((subject, other)) = self.ends(difference) {
            for kind in subject.owners.iter().chain(&other.owners).filter_map(|kind| self.cells.kind(*kind)) {
                let namespace = &kind.pod.key.namespace;
                let is_changed = self.objects.changed_namespaces.contains(namespace);
                all.extend(is_changed.then(|| namespace_title(namespace)));
            }
        }
        let object = |name: String| {
            let origin = self.origins.get(&name).map(ToString::to_string).unwrap_or_default();
            v1::ProposedObject { name, origin }
        };
        all.into_iter().take(CITES).map(object).collect()
    }

    /// The reasons in words, and as cites. Where a flow leaves first, then where it arrives.
    fn because(&self, difference: &United) -> (String, Vec<v1::Cite>) {
        let Outcome { change, because, .. } = &difference.outcome;
        let (mut sides, mut cites) = (Vec::new(), Vec::new());
        for direction in [Direction::Egress, Direction::Ingress] {
            let mut told: BTreeMap<String, v1::Cite> = BTreeMap::new();
            for reason in &because[slot(direction)] {
                // By its text, which is one for all policies of a namespace that may not be seen.
                told.extend(self.cite(*reason, direction).map(|cite| (cite.text.clone(), cite)));
            }
            if !told.is_empty() {
                sides.push(listed(&told.keys().collect::<Vec<_>>()));
            }
            cites.extend(told.into_values());
        }
        cites.truncate(CITES);
        sides.extend(difference.others_differ.then(|| "what the other ends' own policies say".to_owned()));
        // What isolates both ends may be one policy.
        sides.dedup();
        let words = match (change, sides.is_empty()) {
            (v1::Change::Closed, _) => format!("isolated by {}", sides.join("; ")),
            (_, true) => "nothing isolates either end".to_owned(),
            (_, false) => format!("allowed by {}", sides.join("; ")),
        };
        (words, cites)
    }

    fn cite(&self, reason: Reason, direction: Direction) -> Option<v1::Cite> {
        let policy = self.objects.policy(reason.version)?;
        let (text, namespace) = (policy_name(policy, self.sight), policy.key.namespace.to_string());
        if !self.sight.sees(&policy.key.namespace) {
            return Some(v1::Cite { text, namespace, ..v1::Cite::default() });
        }
        let rule = reason.rule.map(|rule| format!(" {direction}[{rule}]")).unwrap_or_default();
        let Meta { uid, resource_version } = meta(policy);
        Some(v1::Cite {
            text: format!("{text}{rule}"),
            namespace,
            policy: Some(policy.key.name.to_string()),
            direction: Some(crate::direction(direction).into()),
            rule: reason.rule.and_then(|rule| u32::try_from(rule).ok()),
            uid,
            resource_version,
            ..v1::Cite::default()
        })
    }
}
