//! What metadata say beside names and labels: owners of pods, versions of policies, what is not told.

use flock_compiler_core::object::Policy;
use serde_json::{Value, json};

use super::{converter, pod};

/// The workload of a pod with these labels and owners.
fn owner(labels: &Value, references: &Value) -> Option<String> {
    let metadata = json!({"name": "p", "namespace": "shop", "labels": labels, "ownerReferences": references});
    let pod = pod(&json!({"metadata": metadata}));
    assert_eq!(pod.faults, []);
    pod.workload().map(ToString::to_string)
}

fn controlled_by(api_version: &str, kind: &str, name: &str) -> Value {
    json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "other"},
        {"apiVersion": api_version, "kind": kind, "name": name, "uid": "x", "controller": true},
    ])
}

#[test]
fn a_pod_belongs_to_the_workload_that_controls_it() {
    for (api_version, kind, name, expected) in [
        ("apps/v1", "StatefulSet", "db", Some("sts/db")),
        ("apps/v1", "DaemonSet", "agent", Some("ds/agent")),
        ("apps/v1", "ReplicaSet", "api-5f6b7c", Some("rs/api-5f6b7c")),
        ("batch/v1", "Job", "backup-29001234", Some("job/backup-29001234")),
        ("apps.kruise.io/v1", "StatefulSet", "db", None),
        ("v1", "ReplicationController", "old", None),
        ("v1", "Node", "n1", None),
        ("apps/v1", "StatefulSet", "D\nb", None),
    ] {
        let found = owner(&Value::Null, &controlled_by(api_version, kind, name));
        assert_eq!(found.as_deref(), expected, "{api_version} {kind} {name}");
    }
}

#[test]
fn a_replica_set_that_is_named_after_the_template_is_a_deployments() {
    let of = |name: &str, hash: &str| {
        let owner = owner(&json!({"pod-template-hash": hash}), &controlled_by("apps/v1", "ReplicaSet", name));
        owner.unwrap()
    };
    assert_eq!(of("api-5f6b7c", "5f6b7c"), "deploy/api");
    assert_eq!(of("api-v2-5f6b7c", "5f6b7c"), "deploy/api-v2");
    for (name, hash) in [
        ("api-5f6b7c", "other"),
        ("api-5f6b7c", ""),
        ("5f6b7c", "5f6b7c"),
        ("api5f6b7c", "5f6b7c"),
        ("-5f", "5f"),
    ] {
        let references = controlled_by("apps/v1", "ReplicaSet", name);
        let found = owner(&json!({"pod-template-hash": hash}), &references);
        assert_eq!(found, (name != "-5f").then(|| format!("rs/{name}")), "{name} {hash}");
    }
}

#[test]
fn owners_that_are_odd_are_nobody() {
    for references in [
        json!(null),
        json!("x"),
        json!([]),
        json!([7, null, {}]),
        json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "a"}]),
        json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "a", "controller": false}]),
        json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "a", "controller": "true"}]),
        json!([{"apiVersion": "apps/v1", "kind": 3, "name": "a", "controller": true}]),
        json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "controller": true}]),
    ] {
        assert_eq!(owner(&Value::Null, &references), None, "{references}");
    }
}

fn policy_with(metadata: &Value) -> Policy {
    let policy = converter().policy(&json!({"metadata": metadata, "spec": {"podSelector": {}}})).unwrap();
    assert_eq!(policy.faults(), []);
    policy
}

#[test]
fn a_policy_knows_its_uid_and_version() {
    let meta = policy_with(&json!({"name": "p", "uid": "0b1c-2", "resourceVersion": "4031"})).meta.0;
    assert_eq!((meta.uid.as_deref(), meta.resource_version.as_deref()), (Some("0b1c-2"), Some("4031")));
    let long = "1".repeat(129);
    for odd in [json!(null), json!(7), json!(""), json!("a b"), json!("a\u{1b}[m"), json!(long)] {
        let meta = policy_with(&json!({"name": "p", "uid": odd, "resourceVersion": odd})).meta.0;
        assert_eq!((meta.uid, meta.resource_version), (None, None), "{odd}");
    }
}

#[test]
fn a_policys_version_alone_is_no_difference_that_translation_sees() {
    let [one, other] =
        ["1", "2"].map(|version| policy_with(&json!({"name": "p", "resourceVersion": version})));
    assert_eq!(one, other);
    assert_ne!(one.meta.0, other.meta.0);
}

#[test]
fn findings_are_ignored_by_their_codes() {
    for (annotation, expected) in [
        (json!("FLK010,FLK020"), vec!["FLK010", "FLK020"]),
        (json!(" FLK020 , FLK001,FLK020,"), vec!["FLK001", "FLK020"]),
        (json!("all, flk001, FLK1"), vec![]),
        (json!(7), vec![]),
        (json!(null), vec![]),
    ] {
        let metadata = json!({"name": "shop", "annotations": {"flock.netpol/ignore": annotation}});
        let codes = |codes: &[flock_compiler_core::object::LintCode]| {
            codes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let namespace = converter().namespace(&json!({"metadata": metadata})).unwrap();
        assert_eq!(codes(&namespace.ignored_lints), expected, "{annotation}");
        assert_eq!(codes(&policy_with(&metadata).meta.ignored_lints), expected, "{annotation}");
    }
    for metadata in [json!({"name": "shop"}), json!({"name": "shop", "annotations": []})] {
        assert!(policy_with(&metadata).meta.ignored_lints.is_empty());
    }
}
