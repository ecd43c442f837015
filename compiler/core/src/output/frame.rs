//! The frame: all that a node enforces but the members of sets of pods. Only its own pods change it, and those that have
//! an address of its blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::PodKey;
use litemap::LiteMap;
use smallvec::SmallVec;

use super::links::Links;
use super::rule_set::{Fingerprint, RuleSet};
use super::subjects::Subjects;
use super::unready::Unready;
use crate::object::{Direction, HostInterface};

/// All that a node enforces but the members of sets of pods.
///
/// What follows the policies stands apart from what follows the node's pods, so that a policy that changes on thousands
/// of nodes copies the subjects that it isolates in another way, and nothing of the other pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// The families that pods of the cluster have addresses of; sets of other families are left out.
    pub families: Families,
    /// The addresses of local pods that are isolated in at least one direction.
    pub subjects: Subjects,
    /// The pods that own each subject: one, unless it is contested. In order.
    pub owners: Arc<LiteMap<IpAddr, Owners>>,
    /// The addresses of the pods behind each host interface of local pods, where it is known.
    pub anchors: Arc<BTreeMap<HostInterface, BTreeSet<IpAddr>>>,
    /// The blocks in which addresses are isolated unless they are known; `None`: there are none.
    pub unready: Option<Arc<Unready>>,
    /// By which ways frames and tunnelled packets come to the pods.
    pub links: Arc<Links>,
}

/// The pods that own an address: one, unless it is contested. In order.
pub type Owners = SmallVec<[PodKey; 1]>;

/// Which address families occur.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// How an address of a local pod is isolated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Towards the address.
    pub ingress: Isolation,
    /// From the address.
    pub egress: Isolation,
    /// Further addresses of the same pod and family: it always reaches itself. In order, each a subject that has this
    /// one as its sibling.
    pub siblings: Box<[IpAddr]>,
    fingerprint: Fingerprint,
}

impl Subject {
    /// An address that is isolated in these ways.
    #[must_use]
    pub fn new(ingress: Isolation, egress: Isolation, siblings: Box<[IpAddr]>) -> Self {
        let rule_sets = ingress.rule_sets().iter().chain(egress.rule_sets());
        let fingerprint =
            rule_sets.map(|rules| rules.fingerprint).fold(Fingerprint::default(), Fingerprint::union);
        Self { ingress, egress, siblings, fingerprint }
    }

    /// The names of its rule sets and of their parts.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The isolation in `direction`.
    #[must_use]
    pub const fn isolation(&self, direction: Direction) -> &Isolation {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// The rule sets of both directions, ingress first.
    pub fn rule_sets(&self) -> impl Iterator<Item = &Arc<RuleSet>> {
        self.ingress.rule_sets().iter().chain(self.egress.rule_sets())
    }
}

/// How an address is isolated in one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// Not at all: no policy selects it, or everything is allowed.
    Open,
    /// Nothing is allowed.
    Closed,
    /// What these rules allow.
    Rules(Arc<RuleSet>),
    /// What every one of these allows, for the address is contested. At least two, ordered by name.
    All(Box<[Arc<RuleSet>]>),
}

impl Isolation {
    /// The rule sets, ordered by name.
    #[must_use]
    pub fn rule_sets(&self) -> &[Arc<RuleSet>] {
        match self {
            Self::Open | Self::Closed => &[],
            Self::Rules(one) => std::slice::from_ref(one),
            Self::All(several) => several,
        }
    }
}

impl Frame {
    /// The rule sets that subjects refer to, each once, ordered by direction and name.
    #[must_use]
    pub fn rule_sets(&self) -> Vec<&Arc<RuleSet>> {
        let mut found: Vec<&Arc<RuleSet>> = self.subjects.values().flat_map(Subject::rule_sets).collect();
        found.sort_unstable_by(|a, b| (a.direction, &a.name).cmp(&(b.direction, &b.name)));
        found.dedup_by(|a, b| Arc::ptr_eq(a, b) || (a.direction, &a.name) == (b.direction, &b.name));
        found
    }
}
