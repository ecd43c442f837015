//! The manifest that installs the programs: every field is one that Kubernetes knows, and the names in it are those
//! that the programs look for.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use flock_shared::access;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Every object of the manifest, by kind and name.
fn objects() -> BTreeMap<(String, String), Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kubernetes/install.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let text = |object: &Value, at: &str| object.pointer(at).and_then(Value::as_str).unwrap().to_owned();
    let entry = |object: Value| ((text(&object, "/kind"), text(&object, "/metadata/name")), object);
    objects.into_iter().map(entry).collect()
}

/// Fails if a field of the object is not one of its type: reading drops those, so they are missing when it is written.
fn same<T: DeserializeOwned + Serialize>(object: &Value) {
    let read: T = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), *object);
}

fn find<'a>(objects: &'a BTreeMap<(String, String), Value>, kind: &str, name: &str) -> &'a Value {
    objects.get(&(kind.to_owned(), name.to_owned())).unwrap_or_else(|| panic!("{kind} {name}"))
}

#[test]
fn every_field_is_known() {
    for ((kind, name), object) in &objects() {
        match kind.as_str() {
            "CustomResourceDefinition" => same::<CustomResourceDefinition>(object),
            "Namespace" => same::<Namespace>(object),
            "ServiceAccount" => same::<ServiceAccount>(object),
            "Secret" => same::<Secret>(object),
            "ConfigMap" => same::<ConfigMap>(object),
            "Service" => same::<Service>(object),
            "ClusterRole" => same::<ClusterRole>(object),
            "ClusterRoleBinding" => same::<ClusterRoleBinding>(object),
            "Role" => same::<Role>(object),
            "RoleBinding" => same::<RoleBinding>(object),
            "PodDisruptionBudget" => same::<PodDisruptionBudget>(object),
            "Deployment" => same::<Deployment>(object),
            "DaemonSet" => same::<DaemonSet>(object),
            _ => panic!("{kind} {name}"),
        }
    }
}

#[test]
fn the_programs_find_what_they_look_for() {
    let objects = objects();
    let service = find(&objects, "Service", access::SERVICE);
    assert_eq!(service["metadata"]["namespace"], access::NAMESPACE);
    assert_eq!(service["spec"]["ports"][0]["port"], access::PORT);
    find(&objects, "ConfigMap", access::CA_CONFIG_MAP);
    find(&objects, "Secret", access::TLS_SECRET);
    find(&objects, "ServiceAccount", access::CLIENT_ACCOUNT);
    let viewer = find(&objects, "ClusterRole", "flock-viewer");
    assert_eq!(viewer["rules"][0]["apiGroups"][0], access::API_GROUP);
    let resources = [access::NODE_SCRIPTS, access::POLICY_EXPLANATIONS];
    assert_eq!(viewer["rules"][0]["resources"], serde_json::json!(resources));

    let agent = find(&objects, "DaemonSet", access::AGENT_ACCOUNT);
    let pod = &agent["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], access::AGENT_ACCOUNT);
    let volumes = pod["volumes"].as_array().unwrap();
    let token = volumes.iter().find_map(|volume| volume.pointer("/projected/sources/0/serviceAccountToken"));
    assert_eq!(token.unwrap()["audience"], access::AUDIENCE);
    let arguments = pod["containers"][0]["args"].as_array().unwrap();
    let server = format!("--server-name={}.{}.svc", access::SERVICE, access::NAMESPACE);
    assert!(arguments.iter().any(|argument| *argument == *server), "{arguments:?}");

    let compiler = find(&objects, "Deployment", access::SERVICE);
    let label = &compiler["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"];
    assert_eq!(label, access::SERVICE);
}

#[test]
fn agents_may_do_nothing_with_the_api_server() {
    let bindings = objects().into_iter().filter(|((kind, _), _)| kind.ends_with("RoleBinding"));
    for (name, binding) in bindings {
        let subjects = binding["subjects"].as_array().unwrap();
        assert!(subjects.iter().all(|subject| subject["name"] != access::AGENT_ACCOUNT), "{name:?}");
    }
}
