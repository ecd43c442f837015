//! What CNI did on nodes, as somebody may have damaged it: what is not understood is left out and told, shortly, and the rest
//! counts.

use serde_json::{Value, json};

use super::converter;
use crate::{MOST_ADDRESSES, MOST_SANDBOXES};

fn good(name: &str) -> Value {
    json!({ "id": "3fa9", "namespace": "shop", "name": name, "uid": "u1", "addresses": ["10.244.1.7"] })
}

/// The pods of an object with this spec, and what was left out.
fn read(spec: &Value) -> (Vec<String>, Vec<String>) {
    let object = converter().node_pods(&json!({ "metadata": { "name": "n1" }, "spec": spec })).unwrap();
    let pods = object.sandboxes().iter().map(|sandbox| sandbox.pod.name.to_string());
    (pods.collect(), object.faults().iter().map(ToString::to_string).collect())
}

fn with(name: &str, key: &str, value: Value) -> Value {
    let mut sandbox = good(name);
    sandbox[key] = value;
    sandbox
}

#[test]
fn one_that_is_damaged_takes_no_other_with_it() {
    let damaged = [
        json!(7),
        json!([]),
        json!({}),
        with("a", "uid", json!("")),
        with("a", "uid", json!("x".repeat(200))),
        with("a", "name", json!("../b")),
        with("a", "namespace", json!(["shop"])),
        with("a", "interface", json!("a name of more than fifteen")),
        with("a", "detached", json!("yes")),
        with("a", "addresses", json!("10.244.1.7")),
        with("a", "addresses", json!(["10.244.1.7", "127.0.0.1"])),
        with("a", "addresses", json!(["fe80::1"])),
        with("a", "addresses", json!(["0.0.0.0"])),
        with("a", "addresses", json!(vec!["10.244.1.7"; MOST_ADDRESSES + 1])),
        // What a later version says may narrow it.
        with("a", "until", json!("2030")),
    ];
    for sandbox in damaged {
        let (pods, faults) = read(&json!({ "sandboxes": [good("b"), sandbox, good("c")] }));
        assert_eq!(pods, ["b", "c"], "{sandbox}");
        assert!(!faults.is_empty() && faults.iter().all(|it| it.contains("spec.sandboxes[1]")), "{faults:?}");
    }
    for spec in [json!([]), json!("x"), json!({ "sandboxes": {} }), json!({ "sandboxes": 1 })] {
        let (pods, faults) = read(&spec);
        assert_eq!((pods.len(), faults.len()), (0, 1), "{spec}");
    }
    for spec in [json!(null), json!({}), json!({ "sandboxes": [], "later": { "x": 1 } })] {
        assert_eq!(read(&spec), (vec![], vec![]), "{spec}");
    }
    assert!(converter().node_pods(&json!({ "metadata": { "name": "A/b" } })).is_err());
}

#[test]
fn what_is_too_much_is_told_in_a_few_words() {
    let (pods, faults) = read(&json!({ "sandboxes": vec![good("b"); 10_000] }));
    assert_eq!((pods.len(), faults.len()), (MOST_SANDBOXES, 1));
    assert!(faults[0].contains("at most 1024 sandboxes"), "{faults:?}");

    let (pods, faults) = read(&json!({ "sandboxes": vec![json!({ "x": 1 }); 10_000] }));
    assert!(pods.is_empty() && (1..=101).contains(&faults.len()), "{}", faults.len());

    for key in ["id", "namespace", "name", "uid", "interface"] {
        let huge = with("a", key, json!("\u{1b}x".repeat(500_000)));
        let (_, faults) = read(&json!({ "sandboxes": [huge, with("a", &"y".repeat(500_000), json!(1))] }));
        let longest = faults.iter().map(String::len).max().unwrap();
        assert!(longest < 1000, "{key}: {longest}");
        assert!(faults.iter().all(|it| !it.contains('\u{1b}')), "{key}");
    }
}

#[test]
fn the_same_twice_is_once() {
    let object = |sandboxes: Value| {
        converter()
            .node_pods(&json!({ "metadata": { "name": "n1" }, "spec": { "sandboxes": sandboxes } }))
            .unwrap()
    };
    let (once, twice) = (object(json!([good("b")])), object(json!([good("b"), good("b")])));
    let known = once.sandboxes()[0].clone();
    assert_eq!(once.of(&known.pod, &known.uid), twice.of(&known.pod, &known.uid));
}
