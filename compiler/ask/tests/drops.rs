//! Which of the flows that nodes dropped are told, by the ends that are asked for.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "../../core/tests/support/objects.rs"]
mod objects;

use flock_ask::{Cluster, DropFilter, Dropped, Sight, dropped};
use flock_compiler_core::object::{Namespace, Pod};
use flock_compiler_core::{Change, Edit, Labels, UnreadyPods, World};
use flock_proto::v1::end::End as Asked;
use flock_proto::{DropDirection, DropKey, v1};
use flock_shared::NamespaceName;

use objects::{deny, name, node};

/// A pod that may send nothing, and another one.
fn world() -> World {
    let pod = |pod: &str, on, at| Pod { node: Some(name(on)), ..objects::pod("shop", pod, &[at]) };
    let mut world = World::default();
    world.apply(Change::Node(Edit::Replace(vec![node(1), node(2)])));
    let shop = Namespace::new(NamespaceName::new("shop").unwrap(), Labels::default());
    world.apply(Change::Namespace(Edit::Replace(vec![shop])));
    let pods = vec![pod("web", 1, "10.244.1.5"), pod("db", 2, "10.244.2.5")];
    world.apply(Change::Pod(Edit::Replace(pods)));
    world.apply(Change::Policy(Edit::Replace(vec![deny("shop")])));
    world
}

/// Of flows to a pod and to several addresses of nobody, the destinations that are told.
fn told(to: Option<Asked>) -> Vec<&'static str> {
    let world = world();
    let cluster = Cluster::new(&world, UnreadyPods::Allow);
    let judge = cluster.judge();
    let to = to.map(|end| v1::End { end: Some(end) });
    let request = v1::WatchDropsRequest { to, ..v1::WatchDropsRequest::default() };
    let filter = DropFilter::of(&cluster, &judge, &request, &Sight::Everything).unwrap();
    let is_told = |destination: &&str| {
        let key = DropKey {
            source: "10.244.1.5".parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol: 6,
            port: 443,
            direction: DropDirection::Egress,
        };
        matches!(dropped(&judge, (&name(1), &key), &filter, &Sight::Everything, true), Dropped::Told(_))
    };
    ["10.244.2.5", "8.8.8.8", "203.0.113.7"].into_iter().filter(is_told).collect()
}

#[test]
fn the_internet_is_every_address_that_is_nobodys() {
    assert_eq!(told(None), ["10.244.2.5", "8.8.8.8", "203.0.113.7"]);
    assert_eq!(told(Some(Asked::Internet(true))), ["8.8.8.8", "203.0.113.7"]);
    assert_eq!(told(Some(Asked::Address("8.8.8.8".into()))), ["8.8.8.8"]);
    let db = v1::PodName { namespace: "shop".into(), name: "db".into() };
    assert_eq!(told(Some(Asked::Pod(db))), ["10.244.2.5"]);
}
