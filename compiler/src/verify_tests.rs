//! A receipt is proven by the objects that it is of, and by no others.

use std::path::PathBuf;

use flock_proto::{NodeReceipt, PolicyReceipt};

use super::*;

const OBJECTS: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec: {nodeName: n1}
status: {phase: Running, podIP: 10.0.0.1}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}}
";

/// A receipt of these objects, made as the service makes it.
fn receipt() -> ReceiptFile {
    let manifests = Manifests::from_bytes([("x", OBJECTS.as_bytes())], &HostInterfaces::None.into());
    assert!(manifests.errors.is_empty());
    let settings = Options::default();
    let mut world = World::trusting(settings.trust);
    let node = NodeName::new("n1").unwrap();
    let facts = Facts { grammar: 2, ..Facts::nothing_of(node.clone()) };
    let facts_change = Change::Facts(Edit::Upsert(facts.clone()));
    manifests.listings().into_iter().chain([facts_change]).for_each(|change| drop(world.apply(change)));
    let revision = translate_with(&world, settings).output(&node).revision().to_string();
    let hello = v1::Hello::from(facts::to_hello(&facts)).encode_to_vec();
    ReceiptFile {
        time: None,
        compiler_version: "1".to_owned(),
        layout_version: LAYOUT_VERSION.into(),
        options: options(&settings, "none"),
        nodes: vec![NodeReceipt {
            node: node.to_string(),
            desired_revision: revision.clone(),
            applied_revision: Some(revision),
            applied_since: None,
            facts: hello.iter().map(|byte| format!("{byte:02x}")).collect(),
        }],
        policies: vec![PolicyReceipt {
            namespace: "shop".to_owned(),
            name: "deny".to_owned(),
            uid: None,
            resource_version: None,
        }],
    }
}

/// What verifying comes to, and what it prints.
fn verified(objects: &str, receipt: &str) -> (Verification, String) {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let asked = Verify { manifests: write("objects.yaml", objects), receipt: write("receipt.json", receipt) };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let came_to = verify(&asked, &mut out, &mut err).unwrap();
    out.extend(err);
    (came_to, String::from_utf8(out).unwrap())
}

fn json(receipt: &ReceiptFile) -> String {
    serde_json::to_string(receipt).unwrap()
}

#[test]
fn a_receipt_is_proven_by_its_own_objects() {
    let (came_to, said) = verified(OBJECTS, &json(&receipt()));
    assert_eq!(came_to, Verification::Proven, "{said}");
    assert!(said.starts_with("proven: 1 nodes"), "{said}");
}

#[test]
fn other_objects_prove_nothing() {
    for objects in [
        OBJECTS.replace("podSelector: {}", "podSelector: {matchLabels: {app: other}}"),
        OBJECTS.replace("10.0.0.1", "10.0.0.2"),
        OBJECTS.replace("name: deny", "name: other"),
        OBJECTS.replace("name: n1", "name: n2").replace("nodeName: n1", "nodeName: n2"),
    ] {
        let (came_to, said) = verified(&objects, &json(&receipt()));
        assert_eq!(came_to, Verification::NotProven, "{said}{objects}");
    }
}

#[test]
fn what_a_node_has_not_acknowledged_is_not_proven() {
    for applied in [None, Some("0123".to_owned())] {
        let mut receipt = receipt();
        receipt.nodes[0].applied_revision = applied;
        let (came_to, said) = verified(OBJECTS, &json(&receipt));
        assert_eq!(came_to, Verification::NotProven, "{said}");
        assert!(said.contains("node n1: it has acknowledged"), "{said}");
    }
}

#[test]
fn bad_input_is_told_from_what_is_not_proven() {
    let good = receipt();
    let of = |change: fn(&mut ReceiptFile)| {
        let mut receipt = good.clone();
        change(&mut receipt);
        json(&receipt)
    };
    for receipt in [
        String::new(),
        "{}".to_owned(),
        of(|it| it.layout_version += 1),
        of(|it| drop(it.options.remove("unreadyPods"))),
        of(|it| drop(it.options.insert("attachAnyAddress".to_owned(), "perhaps".to_owned()))),
        of(|it| it.nodes[0].facts = "0".to_owned()),
        of(|it| it.nodes[0].node = "n2".to_owned()),
    ] {
        let (came_to, said) = verified(OBJECTS, &receipt);
        assert_eq!(came_to, Verification::BadInput, "{said}{receipt}");
        assert!(said.starts_with("error: "), "{said}");
    }
    assert_eq!(verified("kind: [", &json(&good)).0, Verification::BadInput);
}
