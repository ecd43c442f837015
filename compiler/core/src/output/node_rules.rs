//! The node's rules: all that a node enforces but the members of sets of pods. Only its own pods change it, and those that have
//! an address of its blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use flock_shared::PodKey;
use litemap::LiteMap;
use smallvec::SmallVec;

use super::guard::PodCidrGuard;
use super::isolated::IsolatedPods;
use super::links::Links;
use super::rule_set::{Fingerprint, RuleSet};
use crate::identity::{Digest, Identity};
use crate::object::{Direction, HostInterface};

/// All that a node enforces but the members of sets of pods.
///
/// What follows the policies stands apart from what follows the node's pods, so that a policy that changes on thousands
/// of nodes copies the pods that it isolates in another way, and nothing of the other pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeRules {
    /// The families that pods of the cluster have addresses of; sets of other families are left out.
    pub families: Families,
    /// The addresses of local pods that are isolated in at least one direction.
    pub isolated: IsolatedPods,
    /// The pods that own each isolated address: one, unless it is contested. In order.
    pub owners: Arc<LiteMap<IpAddr, Owners>>,
    /// The addresses of the pods behind each host interface of local pods, where it is known.
    pub source_checks: Arc<BTreeMap<HostInterface, BTreeSet<IpAddr>>>,
    /// The blocks in which addresses are isolated unless they are known; `None`: there are none.
    pub guard: Option<Arc<PodCidrGuard>>,
    /// By which ways frames and tunnelled packets come to the pods.
    pub links: Arc<Links>,
    /// Whether flows are taken down that a policy denies.
    pub drops: Drops,
}

/// Whether a node takes down the flows that it drops by a decision of policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Drops {
    /// It counts packets, and no more: its agent or its kernel can do nothing else, or it is told not to.
    #[default]
    Counted,
    /// It does ([`flock_nft::drops`]).
    Kept,
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
pub struct IsolatedPod {
    /// Towards the address.
    pub ingress: Isolation,
    /// From the address.
    pub egress: Isolation,
    /// Further addresses of the same pod and family: it always reaches itself. In order, each isolated, and this
    /// one as its sibling.
    pub siblings: Box<[IpAddr]>,
    fingerprint: Fingerprint,
}

impl IsolatedPod {
    /// An address that is isolated in these ways.
    #[must_use]
    pub fn new(ingress: Isolation, egress: Isolation, siblings: Box<[IpAddr]>) -> Self {
        let rule_sets = ingress.rule_sets().iter().chain(egress.rule_sets());
        let fingerprint =
            rule_sets.map(|rules| rules.fingerprint).fold(Fingerprint::default(), Fingerprint::union);
        Self { ingress, egress, siblings, fingerprint }
    }

    /// The names of its rule sets and of what they refer to.
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

impl NodeRules {
    /// The rule sets that isolated pods refer to, each once, ordered by direction and name.
    #[must_use]
    pub fn rule_sets(&self) -> Vec<&Arc<RuleSet>> {
        let mut found: Vec<&Arc<RuleSet>> = self.isolated.values().flat_map(IsolatedPod::rule_sets).collect();
        found.sort_unstable_by(|a, b| (a.direction, &a.name).cmp(&(b.direction, &b.name)));
        // The pointer spares most comparisons of names; an equal rule set that was made anew has another one.
        found.dedup_by(|a, b| Arc::ptr_eq(a, b) || (a.direction, &a.name) == (b.direction, &b.name));
        found
    }
}

/// The digest of what a node's rules is laid out to; the names of pods are not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeRulesDigest(pub(super) Identity);

impl NodeRulesDigest {
    pub(crate) fn of(node_rules: &NodeRules) -> Self {
        let mut digest = Digest::new();
        digest.tag(u8::from(node_rules.families.v4));
        digest.tag(u8::from(node_rules.families.v6));
        digest.count(node_rules.source_checks.len());
        for (interface, addresses) in &*node_rules.source_checks {
            let (tag, name) = match interface {
                HostInterface::Computed(name) => (0, name),
                HostInterface::Claimed(name) => (1, name),
            };
            digest.tag(tag);
            digest.text(name.as_str());
            digest.count(addresses.len());
            addresses.iter().for_each(|at| digest.address(at));
        }
        node_rules.isolated.identify(&mut digest);
        // From here on only what there is: nodes without it keep the revisions that they had before it existed.
        if let Some(guard) = &node_rules.guard {
            digest.inner(&guard.digest());
        }
        if *node_rules.links != Links::default() {
            digest.inner(&node_rules.links.digest());
        }
        if node_rules.drops == Drops::Kept {
            digest.text("drops");
        }
        Self(digest.finish())
    }
}
