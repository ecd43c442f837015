//! What every object has, and what makes one unusable.

use serde_json::{Value, json};

use super::{converter, pod, policy};
use crate::*;

#[test]
fn an_object_that_cannot_be_told_apart_is_refused_with_every_reason() {
    let error = converter()
        .pod(&json!({
            "metadata": {"name": "Web_0", "namespace": "shop", "labels": {"version": 1.5}},
            "spec": {"nodeName": "a b", "hostNetwork": "yes"}, "status": {"phase": 3},
        }))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "f.yaml: Pod shop/\"Web_0\": metadata.name: \"Web_0\" is not a DNS-1123 name: lower case letters, digits, '-' \
         and '.', starting and ending with a letter or digit\n\
         f.yaml: Pod shop/\"Web_0\": metadata.labels.version: found 1.5; expected a string (quote it)\n\
         f.yaml: Pod shop/\"Web_0\": status.phase: found 3; expected a string\n\
         f.yaml: Pod shop/\"Web_0\": spec.nodeName: \"a b\" is not a DNS-1123 name: lower case letters, digits, '-' \
         and '.', starting and ending with a letter or digit\n\
         f.yaml: Pod shop/\"Web_0\": spec.hostNetwork: found \"yes\"; expected true or false"
    );
    assert_eq!(error.problems(Consequence::PreviousKept).len(), 5);
    let message = |value: &Value| converter().object(value).unwrap_err().to_string();
    assert_eq!(message(&json!([1])), "f.yaml: found a list; expected a Kubernetes object");
    assert_eq!(
        message(&json!({"apiVersion": "v1"})),
        "f.yaml: kind: is missing; every Kubernetes object has apiVersion and kind"
    );
    assert_eq!(
        message(&json!({"kind": "Pod", "metadata": {"name": "a"}})),
        "f.yaml: apiVersion: is missing; every Kubernetes object has apiVersion and kind (Pod named \"a\")"
    );
    for kind in ["Pod", "Node", "Namespace"] {
        let error = message(&json!({"apiVersion": "v1", "kind": kind}));
        assert!(error.contains("metadata: is missing"), "{error}");
        let error = message(&json!({"apiVersion": "v1", "kind": kind, "metadata": []}));
        assert!(error.contains("metadata: found a list; expected an object"), "{error}");
    }
}

#[test]
fn kinds_are_told_by_group_and_kind() {
    let object = |api_version: &str, kind: &str| {
        converter()
            .object(&json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}))
            .unwrap()
    };
    assert!(matches!(object("v1", "Pod"), Converted::Object(ClusterObject::Pod(_))));
    assert!(matches!(object("v1", "Node"), Converted::Object(ClusterObject::Node(_))));
    assert!(matches!(object("v1", "Namespace"), Converted::Object(ClusterObject::Namespace(_))));
    assert!(matches!(
        object("networking.k8s.io/v1", "NetworkPolicy"),
        Converted::Object(ClusterObject::Policy(_))
    ));
    for (api_version, kind) in
        [("v1", "Service"), ("crd.projectcalico.org/v1", "NetworkPolicy"), ("apps/v1", "Pod")]
    {
        assert!(matches!(object(api_version, kind), Converted::Unknown { .. }), "{api_version} {kind}");
    }
}

#[test]
fn ten_thousand_labels_are_no_trouble() {
    let labels: serde_json::Map<String, Value> =
        (0..10_000).map(|i| (format!("k{i}"), json!(format!("v{i}")))).collect();
    let pod = pod(&json!({"metadata": {"name": "a", "labels": labels}}));
    assert_eq!(pod.labels.get("k9999"), Some("v9999"));
    let policy = policy(&json!({"podSelector": {"matchLabels": labels}}));
    assert!(policy.pod_selector.matches(&pod.labels));
}
