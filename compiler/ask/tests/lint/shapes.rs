//! Clusters of known size: nothing is told of them that they do not have, and how long it takes can be seen.

use std::collections::BTreeMap;
use std::time::Instant;

use flock_ask::{Cluster, Sight, lint};
use flock_compiler_core::{UnreadyPods, World};
use flock_proto::v1::{Finding, LintRequest};
use flock_shapes::Shape;

fn found(shape: Shape, divisor: usize) -> Vec<Finding> {
    let mut world = World::default();
    for change in shape.scaled(divisor).changes() {
        world.apply(change);
    }
    let start = Instant::now();
    let cluster = Cluster::new(&world, UnreadyPods::Expected);
    let found = lint(&cluster, &LintRequest::default(), &Sight::Everything).unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in &found {
        *counts.entry(&finding.code).or_default() += 1;
    }
    println!("{shape} / {divisor}: {} findings in {:?}: {counts:?}", found.len(), start.elapsed());
    found
}

#[test]
fn no_shape_costs_too_much_to_be_looked_at_wholly() {
    for (shape, divisor) in [(Shape::S1, 500), (Shape::S2, 50), (Shape::S3, 200)] {
        let found = found(shape, divisor);
        assert!(found.iter().all(|finding| finding.code != "FLK030"), "{shape}");
    }
}

#[test]
#[ignore = "a measurement of half a minute"]
fn whole_shapes_take_this_long() {
    for shape in [Shape::S3, Shape::S1, Shape::S2] {
        found(shape, 1);
    }
}
