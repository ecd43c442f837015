//! The manifest that installs the programs, `deploy/kubernetes/install.yaml`: what it grants, and its custom kind.

use std::collections::BTreeSet;

use serde_json::Value;

const MANIFEST: &str = include_str!("../../../deploy/kubernetes/install.yaml");

/// Every object of the manifest; none if it is no YAML.
#[must_use]
pub fn manifest() -> Vec<Value> {
    serde_saphyr::from_multiple(MANIFEST).unwrap_or_default()
}

/// What the roles of that name allow, cluster-wide and in the namespace, as `verb resource.group`, in the order of the texts.
///
/// Compares with [`ApiServer::asked`](crate::ApiServer::asked). Names of objects are not told.
#[must_use]
pub fn rights(role: &str) -> BTreeSet<String> {
    rights_of(MANIFEST, role)
}

/// The same of another manifest.
#[must_use]
pub fn rights_of(manifest: &str, role: &str) -> BTreeSet<String> {
    let is_it = |object: &Value| {
        matches!(object["kind"].as_str(), Some("Role" | "ClusterRole")) && object["metadata"]["name"] == role
    };
    let all: Vec<Value> = serde_saphyr::from_multiple(manifest).unwrap_or_default();
    let roles: Vec<Value> = all.into_iter().filter(is_it).collect();
    roles.iter().flat_map(|role| role["rules"].as_array().into_iter().flatten()).flat_map(of_rule).collect()
}

fn of_rule(rule: &Value) -> Vec<String> {
    let words = |field: &str| rule[field].as_array().into_iter().flatten().filter_map(Value::as_str);
    let resources = words("apiGroups").flat_map(|group| {
        words("resources")
            .map(move |it| if group.is_empty() { it.to_owned() } else { format!("{it}.{group}") })
    });
    resources.flat_map(|resource| words("verbs").map(move |verb| format!("{verb} {resource}"))).collect()
}
