//! Verdicts: what is said of a flow in each direction, with everything that says it.

use std::sync::Arc;

use flock_shared::{NodeName, PodKey};

use super::rules::{PeerMiss, PortMiss};
use crate::object::{Direction, Policy};

/// What is said of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Where it leaves.
    pub egress: Verdict,
    /// Where it arrives.
    pub ingress: Verdict,
}

impl Judgement {
    /// Returns true if both directions let it pass.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.egress.passes() && self.ingress.passes()
    }

    /// About how many reasons it has: cites, and peers and ports that do not match.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.egress.lines() + self.ingress.lines()
    }

    /// What is said in a direction.
    #[must_use]
    pub const fn of(&self, direction: Direction) -> &Verdict {
        match direction {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        }
    }
}

/// What is said of a flow in one direction.
///
/// Of a packet that enters by the interface of a pod with a source address that is not one of that pod nothing is said here:
/// a flow has addresses, and whoever owns the source's is its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No policy isolates the pod, or no pod is there.
    Open,
    /// No policy is asked.
    Exempt(Exempt),
    /// All that allows it; at least one.
    Allowed(Vec<Cite>),
    /// The policies that isolate the pod, by name, of whose rules none allows it; at least one.
    Denied(Vec<IsolatingPolicy>),
    /// The pod's policies cost more than is allowed, so that it is closed; the policies that isolate it, by name. None: the
    /// namespace as a whole is closed, whatever its policies select.
    OverBudget(Vec<Arc<Policy>>),
    /// The address is in a block of this node's pods and nobody is known to own it: it is taken for that of an isolated pod
    /// that has just started.
    Unready(NodeName),
    /// Several pods own an end of it: it passes if it would for each of them. At least two.
    Contested(Vec<Opinion>),
}

impl Verdict {
    /// Returns true if a policy that was not understood has its part in a denial: nobody knows what it would have allowed.
    #[must_use]
    pub fn is_not_understood(&self) -> bool {
        matches!(self, Self::Denied(isolating) if isolating.iter().any(|one| !one.policy.faults().is_empty()))
    }

    fn lines(&self) -> usize {
        match self {
            Self::Open | Self::Exempt(_) | Self::Unready(_) => 1,
            Self::Allowed(cites) => cites.len(),
            Self::OverBudget(policies) => policies.len(),
            Self::Denied(isolating) => isolating.iter().flat_map(|one| &one.rules).map(Miss::lines).sum(),
            Self::Contested(opinions) => opinions.iter().map(|one| one.verdict.lines()).sum(),
        }
    }

    /// Returns true if it lets the flow pass.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Open | Self::Exempt(_) | Self::Allowed(_) => true,
            Self::Denied(_) | Self::OverBudget(_) | Self::Unready(_) => false,
            Self::Contested(opinions) => opinions.iter().all(|one| one.verdict.passes()),
        }
    }
}

/// Why no policy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exempt {
    /// It is a node, or a pod of its network: no policy applies.
    HostNetwork,
    /// A pod and its own node.
    OwnNode,
    /// A pod and itself.
    Itself,
}

/// What is said for one owner of each end of a contested flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// The owner of the end that is judged.
    pub subject: PodKey,
    /// The owner of the other end, where a pod is there.
    pub peer: Option<PodKey>,
    /// What its policies say.
    pub verdict: Verdict,
}

/// Where a verdict comes from: a rule, and the peer and the port of it that match. Shown as
/// `shop/api egress[0].to[0].ports[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cite {
    /// The policy.
    pub policy: Arc<Policy>,
    /// In which direction.
    pub direction: Direction,
    /// Position of the rule in `ingress` or `egress`.
    pub rule: usize,
    /// Position of the peer in `from` or `to`; `None`: the rule has none, which is any.
    pub peer: Option<usize>,
    /// Position in `ports`; `None`: the rule has none, which is any.
    pub port: Option<usize>,
}

/// A policy that isolates a pod, and how far its rules come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolatingPolicy {
    /// The policy.
    pub policy: Arc<Policy>,
    /// In which direction.
    pub direction: Direction,
    /// Its rules in order; none: it has none in this direction, or it was not understood.
    pub rules: Vec<Miss>,
}

/// How far a rule comes. `None`: the rule names no peers (no ports), so that any matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// Position of the rule.
    pub rule: usize,
    /// The peers that match, by position, and those that do not.
    pub peers: Option<(Vec<usize>, Vec<PeerMiss>)>,
    /// The ports that match, by position, and those that do not.
    pub ports: Option<(Vec<usize>, Vec<PortMiss>)>,
}

/// What matches of a rule that allows a flow.
#[derive(Debug)]
pub struct Matched<'a> {
    peers: Option<&'a [usize]>,
    ports: Option<&'a [usize]>,
}

impl Miss {
    pub(super) const fn new(rule: usize) -> Self {
        Self { rule, peers: None, ports: None }
    }

    fn lines(&self) -> usize {
        let peers = self.peers.as_ref().map_or(0, |(_, missed)| missed.len());
        1 + peers + self.ports.as_ref().map_or(0, |(_, missed)| missed.len())
    }

    /// Returns true if a peer matches.
    #[must_use]
    pub fn has_peer(&self) -> bool {
        self.peers.as_ref().is_none_or(|(matched, _)| !matched.is_empty())
    }

    /// Returns true if a port matches.
    #[must_use]
    pub fn has_port(&self) -> bool {
        self.ports.as_ref().is_none_or(|(matched, _)| !matched.is_empty())
    }

    /// How much of it matches: 0, 1 (the peer or the port) or 2, for a rule that allows the flow.
    #[must_use]
    pub fn nearness(&self) -> u8 {
        u8::from(self.has_peer()) + u8::from(self.has_port())
    }

    /// What matches, if the rule allows the flow.
    #[must_use]
    pub fn matched(&self) -> Option<Matched<'_>> {
        (self.has_peer() && self.has_port()).then_some(Matched {
            peers: self.peers.as_ref().map(|(matched, _)| &**matched),
            ports: self.ports.as_ref().map(|(matched, _)| &**matched),
        })
    }
}

impl IsolatingPolicy {
    /// The rule that comes nearest: the first of which a peer or a port matches; else the first.
    #[must_use]
    pub fn nearest(&self) -> Option<&Miss> {
        // Of several the first, as people read them.
        self.rules.iter().rev().max_by_key(|miss| miss.nearness())
    }
}

impl Matched<'_> {
    /// Every peer with every port.
    pub(super) fn cites(
        &self,
        policy: &Arc<Policy>,
        direction: Direction,
        rule: usize,
    ) -> impl Iterator<Item = Cite> {
        let positions = |all: Option<&[usize]>| match all {
            // Any peer (any port) is one citation: an empty list here would leave the rule uncited.
            None => vec![None],
            Some(all) => all.iter().copied().map(Some).collect(),
        };
        let (peers, ports) = (positions(self.peers), positions(self.ports));
        let policy = Arc::clone(policy);
        peers.into_iter().flat_map(move |peer| {
            let policy = Arc::clone(&policy);
            ports.clone().into_iter().map(move |port| Cite {
                policy: Arc::clone(&policy),
                direction,
                rule,
                peer,
                port,
            })
        })
    }
}
