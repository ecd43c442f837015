//! A receipt is proven by the objects that it is of, and by no others.

use std::path::PathBuf;

use flock_proto::{NodeReceipt, OverdueReceipt, PolicyReceipt};

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
    receipt_of(OBJECTS, Options::default(), Vec::new())
}

/// A receipt of objects with one node, n1, on which some are not waited for any more.
fn receipt_of(objects: &str, settings: Options, overdue: Vec<Overdue>) -> ReceiptFile {
    let manifests = Manifests::from_bytes([("x", objects.as_bytes())], &HostInterfaces::None.into());
    assert!(manifests.errors.is_empty());
    let mut world = World::trusting(settings.trust);
    let node = NodeName::new("n1").unwrap();
    let facts = Facts { grammar: 2, ..Facts::nothing_of(node.clone()) };
    let facts_change = Change::Facts(Edit::Upsert(facts.clone()));
    let told = overdue.iter().cloned().map(|it| Change::Overdue(Edit::Upsert(it)));
    let changes = manifests.listings().into_iter().chain([facts_change]).chain(told);
    changes.for_each(|change| drop(world.apply(change)));
    let overdue = overdue.into_iter().map(|it| match it {
        Overdue::Pod(key) => {
            OverdueReceipt { namespace: key.namespace.to_string(), pod: Some(key.name.to_string()) }
        }
        Overdue::Namespace(_, namespace) => OverdueReceipt { namespace: namespace.to_string(), pod: None },
    });
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
            overdue: overdue.collect(),
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
    assert!(said.starts_with("proven: 1 node enforces"), "{said}");
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
        of(|it| it.nodes[0].overdue.push(OverdueReceipt { namespace: "No".to_owned(), pod: None })),
    ] {
        let (came_to, said) = verified(OBJECTS, &receipt);
        assert_eq!(came_to, Verification::BadInput, "{said}{receipt}");
        assert!(said.starts_with("error: "), "{said}");
    }
    assert_eq!(verified("kind: [", &json(&good)).0, Verification::BadInput);
}

/// One pod of two is on its way.
const ON_ITS_WAY: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.0.0.0/24]}
---
apiVersion: v1
kind: Pod
metadata: {name: late, namespace: shop}
spec: {nodeName: n1}
status: {phase: Pending}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}}
";

#[test]
fn who_is_not_waited_for_any_more_is_part_of_the_proof() {
    let settings = Options { unready_pods: flock_compiler_core::UnreadyPods::Expected, ..Options::default() };
    let of = |overdue| receipt_of(ON_ITS_WAY, settings, overdue);
    let waiting = of(Vec::new());
    let namespace = NamespaceName::new("shop").unwrap();
    for overdue in [
        Overdue::Pod(PodKey::new("shop", "late").unwrap()),
        Overdue::Namespace(NodeName::new("n1").unwrap(), namespace),
    ] {
        let receipt = of(vec![overdue]);
        assert_ne!(receipt.nodes[0].desired_revision, waiting.nodes[0].desired_revision);
        let (came_to, said) = verified(ON_ITS_WAY, &json(&receipt));
        assert_eq!(came_to, Verification::Proven, "{said}");
        let mut silent = receipt;
        silent.nodes[0].overdue.clear();
        let (came_to, _) = verified(ON_ITS_WAY, &json(&silent));
        assert_eq!(came_to, Verification::NotProven);
    }
}

#[test]
fn a_receipt_of_a_version_that_told_nothing_of_them_is_read() {
    let mut value = serde_json::to_value(receipt()).unwrap();
    value["nodes"][0].as_object_mut().unwrap().remove("overdue").unwrap();
    assert_eq!(verified(OBJECTS, &value.to_string()).0, Verification::Proven);
}

/// What is printed, against a file; `BLESS=1` writes it. Revisions are left out: they change with every layout.
#[test]
fn what_it_prints_is_as_it_was() {
    let good = receipt();
    let mut behind = good.clone();
    behind.nodes[0].applied_revision = None;
    let mut other = good.clone();
    other.nodes[0].desired_revision = "0123".to_owned();
    let mut more = good.clone();
    more.nodes.push(NodeReceipt { node: "n9".to_owned(), facts: String::new(), ..good.nodes[0].clone() });
    more.policies.push(PolicyReceipt { name: "gone".to_owned(), ..good.policies[0].clone() });
    let mut unreadable = good.clone();
    unreadable.options.clear();
    let renamed = OBJECTS.replace("name: deny", "name: other");
    let cases = [
        ("its own objects", OBJECTS, json(&good)),
        ("a node that has acknowledged nothing", OBJECTS, json(&behind)),
        ("another revision", OBJECTS, json(&other)),
        ("a node and a policy that there are not", OBJECTS, json(&more)),
        ("a policy of another name", &renamed, json(&good)),
        ("a receipt without options", OBJECTS, json(&unreadable)),
        ("no receipt", OBJECTS, "{".to_owned()),
    ];
    let mut shown = String::new();
    for (what, objects, receipt) in cases {
        let (came_to, said) = verified(objects, &receipt);
        let said = said.replace(&good.nodes[0].desired_revision, "REVISION");
        let lines = said.lines().map(|line| match line.split_once("/receipt.json") {
            Some((_, rest)) => format!("error: receipt.json{rest}\n"),
            None => format!("{line}\n"),
        });
        shown.push_str(&format!("# {what}\n{}# {came_to:?}\n\n", lines.collect::<String>()));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verify.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, shown).unwrap();
        return;
    }
    assert_eq!(shown, fs::read_to_string(path).unwrap_or_default(), "BLESS=1 writes what is printed");
}
