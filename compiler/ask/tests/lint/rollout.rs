//! A rollout on a live cluster: findings come and go with its pods, and none lasts.

use std::collections::BTreeMap;

use flock_ask::{Cluster, Sight, lasting, lint};
use flock_compiler_core::object::{Lifecycle, Pod};
use flock_compiler_core::{Change, Edit, UnreadyPods, World};
use flock_proto::v1::{Finding, LintRequest};
use flock_shapes::parts;
use flock_shared::ObjectKey;

/// A pod of a version of the shop, with the port that it has from the second one on.
fn pod(name: &str, version: &str) -> Pod {
    let mut pod = Pod::new(ObjectKey::new("shop", name).unwrap());
    pod.labels = [("app", "web"), ("version", version)].into_iter().collect();
    if version != "1" {
        pod.ports = [parts::named_port(&flock_compiler_core::object::PortName::new("https"), 8443)].into();
    }
    pod
}

#[test]
fn a_rollout_raises_findings_and_tells_none() {
    let shop = parts::namespace_name("shop");
    let mut world = World::default();
    world.apply(Change::Namespace(Edit::Replace(vec![parts::namespace(shop.clone(), [])])));
    world.apply(Change::Pod(Edit::Replace(["a", "b", "c"].map(|name| pod(name, "1")).to_vec())));
    // The policies of the second version come first: its label and its port are nowhere.
    let version = |value: &str| parts::labelled([&("version".into(), value.into())]);
    let https = parts::named(&flock_compiler_core::object::PortName::new("https"));
    for (name, selector, peer) in
        [("new", version("2"), version("2")), ("from-new", version("1"), version("2"))]
    {
        let rule = parts::rule([parts::pods_of(&shop, peer)], [https.clone()]);
        let name = parts::object_name(name);
        world.apply(Change::Policy(Edit::Upsert(parts::policy(
            &shop,
            &name,
            selector,
            Some(vec![rule]),
            None,
        ))));
    }
    let mut all: BTreeMap<u64, Vec<Finding>> = BTreeMap::new();
    let (mut raised, mut told) = (0, Vec::new());
    for second in (0..600u64).step_by(5) {
        match second {
            // One after another: the new one comes, the old one goes.
            20 | 30 | 40 => {
                let name = ["x", "y", "z"][(second / 10 - 2) as usize];
                world.apply(Change::Pod(Edit::Upsert(pod(name, "2"))));
                let mut old = pod(["a", "b", "c"][(second / 10 - 2) as usize], "1");
                old.lifecycle = Lifecycle::Deleting;
                world.apply(Change::Pod(Edit::Upsert(old)));
            }
            50 => {
                for name in ["a", "b", "c"] {
                    world.apply(Change::Pod(Edit::Delete(ObjectKey::new("shop", name).unwrap())));
                }
            }
            // The policy of the first version goes after it.
            75 => {
                world.apply(Change::Policy(Edit::Delete(ObjectKey::new("shop", "from-new").unwrap())));
            }
            _ => {}
        }
        let cluster = Cluster::new(&world, UnreadyPods::Expected);
        let found = lint(&cluster, &LintRequest::default(), &Sight::Everything).unwrap();
        raised += found.len();
        let before = second.checked_sub(60).and_then(|before| all.get(&before));
        told.extend(before.into_iter().flat_map(|before| lasting(found.clone(), before)));
        all.insert(second, found);
    }
    assert!(raised > 10, "there is something to be quiet about");
    assert!(told.is_empty(), "{told:#?}");
}
