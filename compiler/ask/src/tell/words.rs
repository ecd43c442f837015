//! A verdict in one line.

use std::sync::Arc;

use flock_compiler_core::judge::{Exempt, IsolatingPolicy, Miss, Verdict};
use flock_compiler_core::object::{Direction, Pod, Policy};
use flock_proto::v1;
use flock_shared::listed;

use super::{Teller, Told};
use crate::cite::{cite, policy_name};

/// A verdict in one line.
pub(super) fn verdict(teller: &Teller<'_>, told: Told<'_>, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Open => open(teller, told),
        Verdict::Exempt(Exempt::HostNetwork) => {
            "it is a node or a pod of its network, to which no policy applies".to_owned()
        }
        Verdict::Exempt(Exempt::OwnNode) => "between a pod and its own node everything passes".to_owned(),
        Verdict::Exempt(Exempt::Itself) => "a pod always reaches itself".to_owned(),
        Verdict::Allowed(cites) => {
            let mut texts: Vec<String> = cites.iter().map(|one| cite(one, teller.sight).text).collect();
            // Cites of policies that may not be seen have one text.
            texts.dedup();
            let more = texts.len().saturating_sub(1);
            let first = texts.into_iter().next().unwrap_or_default();
            if more == 0 { first } else { format!("{first} and {more} more") }
        }
        Verdict::Denied(isolating) => denied(teller, told.direction, isolating),
        Verdict::OverBudget(policies) => {
            let namespace = told.subject.map(|pod| pod.key.namespace.to_string()).unwrap_or_default();
            let by = match policies.is_empty() {
                true => String::new(),
                false => format!("isolated by {}; ", names(teller, policies)),
            };
            format!(
                "{by}what the policies of namespace {namespace} ask for costs more than is allowed, so they allow nothing"
            )
        }
        Verdict::Unready(node) => {
            let node =
                if teller.sight.sees_everything() { format!("node {node}") } else { "a node".to_owned() };
            format!(
                "the address is in a block of the pods of {node} and no pod is known to have it: it is taken for that of an \
                 isolated pod that has just started"
            )
        }
        Verdict::Contested(_) => "several pods own an address of it".to_owned(),
    }
}

fn open(teller: &Teller<'_>, told: Told<'_>) -> String {
    match told.subject {
        Some(pod) => format!("no policy isolates {} for {}", teller.pod(pod), told.direction),
        None => "no pod is there, and policies apply to pods".to_owned(),
    }
}

fn names<'p>(teller: &Teller<'_>, policies: impl IntoIterator<Item = &'p Arc<Policy>>) -> String {
    let mut names: Vec<String> =
        policies.into_iter().map(|policy| policy_name(policy, teller.sight)).collect();
    names.dedup();
    listed(&names)
}

fn denied(teller: &Teller<'_>, direction: Direction, isolating: &[IsolatingPolicy]) -> String {
    let by = names(teller, isolating.iter().map(|one| &one.policy));
    let hidden = isolating.iter().any(|one| !teller.sight.sees(&one.policy.key.namespace));
    let faulty: Vec<&Arc<Policy>> =
        isolating.iter().map(|one| &one.policy).filter(|policy| !policy.faults().is_empty()).collect();
    // Nothing else, not even that a policy is not understood: it may be one that may not be seen.
    if hidden {
        return format!("isolated by {by}, and nothing there allows it");
    }
    let without_rules = isolating.iter().all(|one| one.rules.is_empty());
    match (isolating, &*faulty) {
        ([_], [_]) => format!("isolated by {by}, which is not understood and so allows nothing"),
        (_, [_, ..]) => format!(
            "isolated by {by}; {} {} not understood and so {} nothing, and no rule of the others allows it",
            names(teller, faulty.iter().copied()),
            if faulty.len() == 1 { "is" } else { "are" },
            if faulty.len() == 1 { "allows" } else { "allow" },
        ),
        ([_], []) if without_rules => format!("isolated by {by}, which has no {direction} rules"),
        (_, []) if without_rules => format!("isolated by {by}; none of them has {direction} rules"),
        ([_], []) => format!("isolated by {by}; none of its rules allows it"),
        (_, []) => format!("isolated by {by}; none of their rules allows it"),
    }
}

/// The rule that came nearest, of all policies; of equal ones the first.
pub(super) fn nearest(isolating: &[IsolatingPolicy]) -> Option<(&IsolatingPolicy, &Miss)> {
    let each = isolating.iter().filter_map(|one| Some((one, one.nearest()?)));
    // Reversed, as `max_by_key` takes the last of equal ones.
    each.rev().max_by_key(|(_, miss)| miss.nearness())
}

/// Why a packet was dropped, in one line: `ingress: isolated by shop/default-deny, shop/database; nearest shop/database
/// ingress[0] (peer)`, where what is in brackets is what did not match.
#[must_use]
pub fn why_dropped(direction: Direction, verdict: &v1::DirectionVerdict) -> String {
    let nearest = verdict.isolated_by.iter().flat_map(|policy| &policy.rules).find(|rule| rule.nearest);
    let Some(nearest) = nearest else { return format!("{direction}: {}", verdict.words) };
    let missing = match (nearest.peer, nearest.port) {
        (false, false) => "peer, port",
        (false, true) => "peer",
        // Not both: such a rule would have allowed it.
        (true, _) => "port",
    };
    let names: Vec<&str> = verdict.isolated_by.iter().map(|policy| &*policy.policy).collect();
    format!("{direction}: isolated by {}; nearest {} ({missing})", listed(&names), nearest.rule)
}

impl Teller<'_> {
    /// Returns true if what is known of a pod may be told.
    pub(super) fn sees(&self, pod: &Pod) -> bool {
        self.sight.sees(&pod.key.namespace)
    }
}
