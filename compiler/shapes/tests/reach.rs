//! The shapes have the sizes they promise, and S3's events reach as many nodes as they say.

use std::collections::{BTreeMap, BTreeSet};

use flock_compiler_core::{World, translate};
use flock_shapes::{Cluster, EventKind, Events, Reach, Shape, Size};
use flock_shared::{NodeName, Revision};

fn world(cluster: Cluster) -> World {
    let mut world = World::default();
    for change in cluster.changes() {
        world.apply(change);
    }
    world
}

fn revisions(world: &World) -> BTreeMap<NodeName, Revision> {
    let translation = translate(world);
    assert_eq!(translation.problems(), [], "a shape has nothing contradictory in it");
    let revision = |node: &NodeName| translation.output(node).revision().clone();
    world.node_names().into_iter().map(|node| (node.clone(), revision(node))).collect()
}

#[test]
fn a_scaled_shape_has_that_part_of_each_kind() {
    for shape in Shape::ALL {
        let Size { nodes, namespaces, pods, policies } = shape.size();
        let part = |whole: usize| (whole / 10).max(1);
        let expected = Size {
            nodes: part(nodes),
            namespaces: part(namespaces),
            pods: part(pods),
            policies: part(policies),
        };
        assert_eq!(shape.scaled(10).size(), expected, "{shape}");
    }
}

#[test]
fn every_object_has_a_name_of_its_own_and_every_pod_an_address() {
    for shape in Shape::ALL {
        let cluster = shape.scaled(50);
        let size = cluster.size();
        let addresses: BTreeSet<_> =
            cluster.pods.iter().flat_map(|pod| pod.addresses()).flat_map(|set| set.iter().copied()).collect();
        assert_eq!(addresses.len(), size.pods, "{shape}");
        let world = world(cluster);
        let found = Size {
            nodes: world.nodes().len(),
            namespaces: world.namespaces().len(),
            pods: world.pods().len(),
            policies: world.policies().len(),
        };
        assert_eq!(found, size, "{shape}");
    }
}

#[test]
fn an_event_reaches_as_many_nodes_as_it_says_and_can_be_taken_back() {
    let cluster = Shape::S3.scaled(100);
    let events = Events::of(&cluster);
    let mut world = world(cluster);
    let before = revisions(&world);
    for reach in Reach::ALL {
        for kind in EventKind::ALL {
            for number in [0, 1, 7] {
                let event = events.event(kind, reach, number).expect("the shape has such objects");
                assert!(!world.apply(event.change.clone()).is_empty(), "{kind}, {reach} changes nothing");
                let after = revisions(&world);
                let touched = before.iter().filter(|(node, revision)| after.get(*node) != Some(revision));
                let touched = touched.count();
                match reach {
                    Reach::Few => assert!((1..=10).contains(&touched), "{kind} {number}: {touched}"),
                    Reach::All => assert_eq!(touched, before.len(), "{kind} {number}"),
                }
                assert!(!world.apply(event.undo).is_empty());
                assert_eq!(revisions(&world), before, "{kind}, {reach} is taken back");
            }
        }
    }
}

#[test]
fn other_shapes_have_no_events() {
    let events = Events::of(&Shape::S1.scaled(1_000));
    assert_eq!(events.event(EventKind::PolicyChanged, Reach::All, 0), None);
}
