//! `lint`: what is probably not meant.
//!
//! | code | where | what |
//! |---|---|---|
//! | FLK001, FLK002, FLK003 | [`selects`] | a policy, a peer, a port's name that selects nothing |
//! | FLK004 | [`dns`] | pods that cannot ask DNS |
//! | FLK005 | [`one_sided`] | what one end allows and the other does not |
//! | FLK006, FLK011, FLK012 | [`idle`] | rules that add nothing; UDP 53 without TCP 53 |
//! | FLK007, FLK009, FLK010 | [`shape`] | two peers where one was meant; rules that are never looked at; a peer that is every address |
//! | FLK008 | [`blocks`] | an `ipBlock` within addresses of the cluster |
//! | FLK020 | [`open`] | pods that nothing isolates |
//! | FLK030 | [`findings`] | problems that translation reports |
//!
//! It looks at pods by class ([`ground`]), says what is there and what may have been meant ([`words`], [`nearest`]), and
//! leaves out what is silenced ([`findings`]). [`lasting`] leaves out what comes and goes while
//! workloads roll out.

mod blocks;
mod code;
mod dns;
mod findings;
mod ground;
mod idle;
mod nearest;
mod one_sided;
mod open;
mod selects;
mod shape;
mod words;

use std::collections::BTreeSet;
use std::sync::Arc;

use flock_compiler_core::object::Policy;
use flock_proto::v1;
use flock_shared::NamespaceName;

pub use code::Lint;

use self::findings::Findings;
use self::ground::Ground;
use self::words::Words;
use crate::{AskError, Cluster, Sight};

/// What is probably not meant in a cluster, or one of its namespaces: the worst first, then by namespace, object and code.
///
/// It looks at the objects of the cluster; those of the request's manifests have been applied to it by the caller.
///
/// # Errors
/// If there is no such namespace, or the asker may not see it.
pub fn lint(
    cluster: &Cluster<'_>,
    request: &v1::LintRequest,
    sight: &Sight,
) -> Result<Vec<v1::Finding>, AskError> {
    let only = namespace(cluster, request, sight)?;
    let is_asked = |namespace: &NamespaceName| {
        only.as_ref().is_none_or(|only| only == namespace) && sight.sees(namespace)
    };
    let (ground, words) = (Ground::new(cluster, sight), Words::default());
    let mut findings = Findings::new(cluster, sight);
    let (own, servers) = (blocks::Own::of(&ground), dns::Servers::of(&ground));
    for namespace in namespaces(cluster).into_iter().filter(|namespace| is_asked(namespace)) {
        // What one tenant's policies cost is not taken from what others' may.
        ground.refill();
        let policies: Vec<&Arc<Policy>> = cluster.world.policies_of(namespace).collect();
        for policy in &policies {
            selects::policy(&ground, &words, policy, &mut findings);
            shape::policy(policy, &mut findings);
            blocks::policy(&ground, &own, policy, &mut findings);
            one_sided::policy(&ground, policy, &mut findings);
        }
        idle::namespace(&ground, &policies, &mut findings);
        dns::namespace(&ground, &servers, namespace, &mut findings);
        open::namespace(&ground, namespace, &mut findings);
        if ground.is_spent() {
            findings.not_all_looked_at(namespace);
        }
    }
    for problem in cluster.problems {
        let is_of = problem.namespace.as_ref();
        // `of_problem` leaves out what the asker may not see.
        if only.is_none() || is_of == only.as_ref() {
            findings.of_problem(problem);
        }
    }
    Ok(findings.into_vec())
}

/// The findings that were there before, too: labels come and go while a workload rolls out, and findings with them. What is
/// said of one may have changed meanwhile.
#[must_use]
pub fn lasting(mut found: Vec<v1::Finding>, before: &[v1::Finding]) -> Vec<v1::Finding> {
    let key = |it: &v1::Finding| (it.code.clone(), it.object.clone(), it.field.clone());
    let known: BTreeSet<_> = before.iter().map(key).collect();
    found.retain(|finding| known.contains(&key(finding)));
    found
}

/// Every namespace that has pods or policies.
fn namespaces<'w>(cluster: &Cluster<'w>) -> BTreeSet<&'w NamespaceName> {
    let of_pods = cluster.world.pods().keys().map(|key| &key.namespace);
    of_pods.chain(cluster.world.policies().keys().map(|key| &key.namespace)).collect()
}

/// The namespace that is asked about; `None`: all.
fn namespace(
    cluster: &Cluster<'_>,
    request: &v1::LintRequest,
    sight: &Sight,
) -> Result<Option<NamespaceName>, AskError> {
    if request.namespace.is_empty() {
        return Ok(None);
    }
    let name = &request.namespace;
    let namespace = NamespaceName::new(name).map_err(|error| AskError::Bad(format!("namespace: {error}")))?;
    // Before it is looked up: who may not see a namespace is not told whether it is there.
    if !sight.sees(&namespace) {
        return Err(AskError::NotAllowed(format!("you may not see the policies of namespace {namespace}")));
    }
    if !cluster.has_namespace(&namespace) {
        return Err(AskError::NotFound(format!("no namespace {:?}", namespace.as_str())));
    }
    Ok(Some(namespace))
}
