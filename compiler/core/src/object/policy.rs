//! A network policy: which pods it selects, in which directions it isolates them and what it allows.

use std::sync::Arc;

use flock_shared::PolicyKey;

use super::direction::{Direction, Types};
use super::fault::Fault;
use super::lint_code::LintCode;
use super::peer::PeerMatch;
use super::port::RulePorts;
use super::untranslated::Untranslated;
use crate::collections::sorted::Sorted;
use crate::label::Selector;

/// `networking.k8s.io/v1 NetworkPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Namespace and name.
    pub key: PolicyKey,
    /// `spec.podSelector`: the pods of the policy's namespace that it selects.
    pub pod_selector: Selector,
    /// What it says about them.
    pub body: PolicyBody,
    /// What tells its versions apart, and what is not told of it.
    pub meta: Untranslated<PolicyMeta>,
}

/// What a policy's metadata say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyMeta {
    /// `metadata.uid`; `None` where it has none, as in manifests.
    pub uid: Option<Arc<str>>,
    /// `metadata.resourceVersion`; `None` where it has none, as in manifests.
    pub resource_version: Option<Arc<str>>,
    /// Findings that are not told of it.
    pub ignored_lints: Sorted<LintCode>,
    /// The directions that `spec.policyTypes` leaves out although there are rules for them, which nobody looks at.
    pub unused_rules: Option<Types>,
}

/// What a policy says about the pods that it selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyBody {
    /// Every field was understood.
    Understood(PolicyRules),
    /// Some field was not: the pods are isolated in these directions and nothing is allowed by this policy.
    NotUnderstood {
        /// The directions it isolates in.
        types: Types,
        /// What was not understood; at least one.
        faults: Vec<Fault>,
    },
}

/// The rules of a policy by direction; `None`: the policy does not isolate in that direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyRules {
    /// `spec.ingress`, if `policyTypes` has Ingress.
    pub ingress: Option<Arc<[Rule]>>,
    /// `spec.egress`, if `policyTypes` has Egress.
    pub egress: Option<Arc<[Rule]>>,
}

impl Policy {
    /// A policy of which nothing is known but what it says.
    #[must_use]
    pub fn new(key: PolicyKey, pod_selector: Selector, body: PolicyBody) -> Self {
        Self { key, pod_selector, body, meta: Untranslated::default() }
    }

    /// The rules in `direction` if the policy isolates in it.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match &self.body {
            PolicyBody::Understood(rules) => match direction {
                Direction::Ingress => rules.ingress.as_deref(),
                Direction::Egress => rules.egress.as_deref(),
            },
            // It isolates and has no rule: what it would have allowed nobody can tell.
            PolicyBody::NotUnderstood { types, .. } => types.contains(direction).then_some(&[]),
        }
    }

    /// What was not understood; empty for a policy that was.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        match &self.body {
            PolicyBody::Understood(_) => &[],
            PolicyBody::NotUnderstood { faults, .. } => faults,
        }
    }
}

/// One rule: a flow matches when one of the peers and one of the ports match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// `from` or `to`.
    pub peers: PeerMatch,
    /// `ports`.
    pub ports: RulePorts,
}
