//! Manifests as people write them and as kubectl prints them, read once.

use std::path::Path;

use super::{POD, POLICY};
use crate::HostInterfaces;
use crate::manifests::{Manifests, Objects};

fn manifests(files: &[(&str, &str)]) -> Manifests {
    Manifests::from_bytes(
        files.iter().map(|(name, text)| (*name, text.as_bytes())),
        &HostInterfaces::None.into(),
    )
}

fn errors(files: &[(&str, &str)]) -> Vec<String> {
    manifests(files).errors.iter().map(ToString::to_string).collect()
}

/// The objects' names, kind by kind.
fn names(objects: &Objects) -> Vec<String> {
    let nodes = objects.nodes.keys().map(|name| format!("Node {name}"));
    let namespaces = objects.namespaces.keys().map(|name| format!("Namespace {name}"));
    let pods = objects.pods.keys().map(|key| format!("Pod {key}"));
    let policies = objects.policies.keys().map(|key| format!("NetworkPolicy {key}"));
    nodes.chain(namespaces).chain(pods).chain(policies).collect()
}

#[test]
fn lists_and_documents_are_flattened() {
    let listed = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}},
        {"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicyList", "items": [{"metadata": {"name": "p"}}]},
        {"apiVersion": "v1", "kind": "NamespaceList", "items": null}
    ]}"#;
    let read = manifests(&[("list.json", listed), ("pod.yaml", &format!("---\n{POD}---\n---\n# end\n"))]);
    assert_eq!(read.errors.len(), 0, "{:?}", read.errors);
    assert_eq!(
        names(&read.objects),
        [
            "Node n1",
            "Namespace default",
            "Namespace shop",
            "Pod default/a",
            "Pod default/b",
            "Pod shop/web",
            "NetworkPolicy default/p"
        ]
    );
    assert_eq!(read.origins.get("Pod shop/web").map(|origin| &**origin), Some("pod.yaml"));
    assert_eq!(read.origins.get("Namespace shop"), None);
}

#[test]
fn other_kinds_are_noted_kind_by_kind() {
    let text = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}}
- {apiVersion: v1, kind: Service, metadata: {name: db, namespace: shop}}
- {apiVersion: crd.projectcalico.org/v1, kind: NetworkPolicy, metadata: {name: c, namespace: shop}}
- {apiVersion: apps/v1, kind: \"Depl\\noyment\", metadata: {name: d}}
";
    let read = manifests(&[("f.yaml", text)]);
    assert!(names(&read.objects).is_empty() && read.errors.is_empty());
    assert_eq!(
        read.notes,
        [
            "f.yaml: \"Depl\\noyment\" d (apps/v1) ignored",
            "f.yaml: NetworkPolicy shop/c (crd.projectcalico.org/v1) ignored",
            "f.yaml: Service shop/api (v1) and 1 more of its kind ignored",
        ]
    );
}

#[test]
fn namespaces_have_the_label_that_the_api_server_gives_them() {
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: a}}}";
    let spoofed =
        "{apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {kubernetes.io/metadata.name: shop}}}";
    let read =
        manifests(&[("a.yaml", namespace), ("b.yaml", spoofed), ("c.yaml", &POD.replace("shop", "bank"))]);
    let labels: Vec<String> = read
        .objects
        .namespaces
        .values()
        .map(|namespace| namespace.labels.iter().map(|(key, value)| format!("{key}={value} ")).collect())
        .collect();
    assert_eq!(
        labels,
        [
            "kubernetes.io/metadata.name=bank ",
            "kubernetes.io/metadata.name=shop team=a ",
            "kubernetes.io/metadata.name=x "
        ]
    );
    assert_eq!(
        read.notes,
        ["Namespace bank has no object; assumed with the label kubernetes.io/metadata.name only"]
    );
}

#[test]
fn an_object_that_is_there_twice_must_be_the_same() {
    assert!(errors(&[("a.yaml", POD), ("b.yaml", POD)]).is_empty());
    let other = POD.replace("web,", "web, labels: {a: b},");
    let message = |first: &str, second: &str| {
        vec![format!("{second}: Pod shop/web: is also in {first}, with different content")]
    };
    assert_eq!(errors(&[("a.yaml", POD), ("b.yaml", &other)]), message("a.yaml", "b.yaml"));
    assert_eq!(errors(&[("a.yaml", &format!("{POD}---\n{other}"))]), message("a.yaml", "a.yaml"));
}

#[test]
fn every_bad_file_and_every_bad_object_is_told() {
    let objects = "kind: Pod\n---\napiVersion: v1\nkind: List\nitems: [{}, {apiVersion: v1, kind: Node}, 7]\n---\n\
                   apiVersion: v1\nkind: PodList\nitems: {}\n---\n[1]\n";
    assert_eq!(
        errors(&[("a.yaml", "a: [\n"), ("b.yaml", " \n"), ("c.yaml", objects), ("d.yaml", POD)])
            .iter()
            .flat_map(|error| error.lines())
            .collect::<Vec<_>>(),
        [
            "a.yaml: line 1, column 4: unclosed bracket '['",
            "b.yaml: is empty; delete it, or leave a comment in it, if it is to hold no objects",
            "c.yaml: document 1: apiVersion: is missing; every Kubernetes object has apiVersion and kind",
            "c.yaml: document 2, item 1: kind: is missing; every Kubernetes object has apiVersion and kind",
            "c.yaml: Node (no name) (document 2, item 2): metadata: is missing; expected an object with a name",
            "c.yaml: document 2, item 3: found 7; expected a Kubernetes object",
            "c.yaml: document 3: items: found an object; expected a list",
            "c.yaml: document 4: found a list; expected a Kubernetes object",
        ]
    );
}

#[test]
fn a_directory_is_read_like_kubectl_does() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("b.yml", POLICY);
    write("a.json", r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}"#);
    write(".hidden.yaml", "x: [");
    write("notes.txt", "x: [");
    std::fs::create_dir(dir.path().join("sub.yaml")).unwrap();
    let read = Manifests::load(dir.path(), &HostInterfaces::None.into());
    assert!(read.errors.is_empty(), "{:?}", read.errors);
    assert_eq!(names(&read.objects), ["Node n", "Namespace shop", "NetworkPolicy shop/deny"]);
    assert_eq!(read.listings().len(), 5);

    let read = Manifests::load(&dir.path().join("b.yml"), &HostInterfaces::None.into());
    assert_eq!(names(&read.objects), ["Namespace shop", "NetworkPolicy shop/deny"]);
    let told = |path: &Path| Manifests::load(path, &HostInterfaces::None.into()).errors.remove(0).to_string();
    assert!(told(&dir.path().join("none")).contains("No such file"));
    let empty = tempfile::tempdir().unwrap();
    assert!(told(empty.path()).ends_with("has no *.yaml, *.yml or *.json files"));
}
