//! `networking.k8s.io/v1 NetworkPolicy`, read strictly.
//!
//! A policy that is not wholly understood still isolates the pods that it selects: a field of a future API may
//! restrict, so what is unknown is a fault and not ignored. All faults of a policy are told, not only the first.

use flock_compiler_core::Selector;
use flock_compiler_core::object::{
    Direction, Policy, PolicyBody, PolicyMeta, PolicyRules, Rule, Types, Untranslated,
};
use flock_shared::NamespaceName;
use serde_json::Value;

use super::field::{Faults, Field, quoted};
use super::policy_peer::peers;
use super::policy_port::ports;
use super::selector::selector;
use super::{ConvertError, Converter, metadata, usable};

/// The one version that is understood.
const API_VERSION: &str = "networking.k8s.io/v1";

impl Converter {
    /// Converts a network policy. An `apiVersion` that is absent, as in the items of a list, is v1.
    ///
    /// # Errors
    /// Only if it has no valid name; any other fault makes it a policy that isolates and allows nothing.
    pub fn policy(&self, value: &Value) -> Result<Policy, ConvertError> {
        let (mut fatal, mut faults) = (self.faults(), self.faults());
        let root = Field::root(value);
        let key = metadata::key(&root, &mut fatal);
        // Before `spec`, which takes its absence for the API's default only while nothing else is wrong.
        check_version(&root, &mut faults);
        root.only(&["apiVersion", "kind", "metadata", "spec", "status"], &mut faults);
        let (pod_selector, types, rules, unused_rules) =
            spec(&root, key.as_ref().map(|key| &key.namespace), &mut faults);
        let body = if faults.is_empty() {
            PolicyBody::Understood(rules)
        } else {
            PolicyBody::NotUnderstood { types, faults: faults.into_vec() }
        };
        let meta = Untranslated(PolicyMeta {
            uid: metadata::token(&root, "uid"),
            resource_version: metadata::token(&root, "resourceVersion"),
            ignored_lints: metadata::ignored_lints(&root),
            unused_rules,
        });
        usable("NetworkPolicy", value, key.map(|key| Policy { key, pod_selector, body, meta }), fatal)
    }
}

fn check_version(root: &Field<'_>, faults: &mut Faults) {
    let Some(version) = root.get("apiVersion") else { return };
    match version.text(faults) {
        Some(API_VERSION) | None => {}
        Some(other) => faults.at(&version, format!("{} is not known; expected {API_VERSION}", quoted(other))),
    }
}

/// The pod_selector, the directions, the rules, and the directions of those that `policyTypes` leaves out. With faults the rules are not to be used, and what could not be read
/// of subjects and directions is everything.
fn spec(
    root: &Field<'_>,
    namespace: Option<&NamespaceName>,
    faults: &mut Faults,
) -> (Selector, Types, PolicyRules, Option<Types>) {
    let Some(spec) = root.get("spec") else {
        // As the API server defaults it. With faults elsewhere it may be a misspelt spec.
        let types = if faults.is_empty() { Types::Ingress } else { Types::Both };
        let rules = PolicyRules { ingress: Some([].into()), egress: None };
        return (Selector::everything(), types, rules, None);
    };
    if spec.object(faults).is_none() {
        return (Selector::everything(), Types::Both, PolicyRules::default(), None);
    }
    spec.only(&["podSelector", "policyTypes", "ingress", "egress"], faults);
    let pod_selector = spec.get("podSelector").and_then(|field| selector(&field, faults));
    let types = types(&spec, faults);
    // Rules of a direction that policyTypes leaves out do nothing, yet they must be valid all the same.
    let ingress = rules(&spec, "ingress", "from", namespace, faults);
    let egress = rules(&spec, "egress", "to", namespace, faults);
    let unused = Types::of(|direction| {
        let is_empty = match direction {
            Direction::Ingress => ingress.is_empty(),
            Direction::Egress => egress.is_empty(),
        };
        !is_empty && !types.contains(direction)
    });
    let rules = PolicyRules {
        ingress: matches!(types, Types::Ingress | Types::Both).then(|| ingress.into()),
        egress: matches!(types, Types::Egress | Types::Both).then(|| egress.into()),
    };
    // A selector that is not understood selects all pods: selecting none would leave open what was to be isolated.
    (pod_selector.unwrap_or_default(), types, rules, unused)
}

fn types(spec: &Field<'_>, faults: &mut Faults) -> Types {
    let before = faults.count();
    let (mut ingress, mut egress) = (false, false);
    if let Some(listed) = spec.get("policyTypes") {
        for item in listed.items(faults) {
            match item.text(faults) {
                Some("Ingress") => ingress = true,
                Some("Egress") => egress = true,
                Some(other) => {
                    faults.at(
                        &item,
                        format!("{} is not a policy type; expected Ingress or Egress", quoted(other)),
                    );
                }
                None => {}
            }
        }
    }
    // A type that is not understood may stand for either direction.
    if faults.count() > before {
        return Types::Both;
    }
    match (ingress, egress) {
        (true, true) => Types::Both,
        (true, false) => Types::Ingress,
        (false, true) => Types::Egress,
        // The API's default. An `egress` that is no list is told by `rules`, and counts as one that has rules.
        (false, false) if spec.get("egress").is_some_and(|egress| !egress.is_empty_list()) => Types::Both,
        (false, false) => Types::Ingress,
    }
}

fn rules(
    spec: &Field<'_>,
    direction: &str,
    peer_key: &str,
    namespace: Option<&NamespaceName>,
    faults: &mut Faults,
) -> Vec<Rule> {
    let Some(listed) = spec.get(direction) else { return Vec::new() };
    let mut rules = Vec::new();
    for item in listed.items(faults) {
        item.only(&[peer_key, "ports"], faults);
        rules.push(Rule { peers: peers(&item, peer_key, namespace, faults), ports: ports(&item, faults) });
    }
    rules
}
