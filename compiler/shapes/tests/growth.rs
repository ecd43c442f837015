//! What an event costs depends on what it reaches, not on the size of the cluster. Counted, not timed: allocations and
//! the translator's own account of its work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "these are tests")]

use allocation_counter::{AllocationInfo, measure};
use flock_compiler_core::object::PodCidr;
use flock_compiler_core::{Change, NodeChange, Translator, Work};
use flock_shapes::{Cluster, EventKind, Events, Reach, Shape, parts};
use flock_shared::Superseded;

/// A cluster that every event of a kind is made in.
struct Site {
    translator: Translator,
    events: Events,
}

impl Site {
    fn new(divisor: usize) -> Self {
        Self::of(Shape::S3.scaled(divisor))
    }

    /// A cluster whose nodes have a pod CIDR each. Pods are on nodes at random, so most have an address of another's.
    fn guarded(divisor: usize) -> Self {
        let mut cluster = Shape::S3.scaled(divisor);
        for (number, node) in cluster.nodes.iter_mut().enumerate() {
            node.pod_cidrs = PodCidr::around(parts::address(number * 32), 27).into_iter().collect();
        }
        Self::of(cluster)
    }

    fn of(cluster: Cluster) -> Self {
        let events = Events::of(&cluster);
        let mut translator = Translator::new();
        for change in cluster.changes() {
            translator.apply(change);
        }
        translator.pass();
        Self { translator, events }
    }

    /// Makes one change; what the pass did and what was allocated, deltas included.
    fn make(&mut self, change: Change) -> (Work, AllocationInfo) {
        let mut work = Work::default();
        let allocated = measure(|| {
            self.translator.apply(change);
            work = self.translator.pass().work;
        });
        (work, allocated)
    }

    /// The dearest of some events of a kind.
    fn dearest(&mut self, kind: EventKind, reach: Reach) -> (Work, AllocationInfo) {
        let events: Vec<_> = (0..8).filter_map(|number| self.events.event(kind, reach, number)).collect();
        let made = events.into_iter().map(|event| {
            let made = self.make(event.change);
            self.make(event.undo);
            made
        });
        made.max_by_key(|(_, allocated)| allocated.count_total).expect("the shape has such objects")
    }
}

#[test]
fn an_event_that_reaches_few_nodes_costs_the_same_in_a_cluster_five_times_as_large() {
    let (mut small, mut large) = (Site::new(100), Site::new(20));
    for kind in EventKind::ALL {
        let (small_work, small_allocated) = small.dearest(kind, Reach::Few);
        let (large_work, large_allocated) = large.dearest(kind, Reach::Few);
        println!("{kind}: {small_work:?} {small_allocated:?}\n    {large_work:?} {large_allocated:?}");
        for work in [small_work, large_work] {
            assert!((1..=10).contains(&(work.assembled + work.patched + work.members)), "{kind}: {work:?}");
            assert!(work.groups <= 40 && work.pods <= 40 && work.sets <= 10, "{kind}: {work:?}");
        }
        // Nodes, namespaces and sets differ a little in what they hold; a fifth of the cluster would be far more.
        let most = |small: u64| small * 2 + 200;
        assert!(large_allocated.count_total <= most(small_allocated.count_total), "{kind}: allocations");
        assert!(
            large_allocated.bytes_total <= most(small_allocated.bytes_total) + 64 * 1024,
            "{kind}: bytes allocated"
        );
    }
}

#[test]
fn an_event_that_reaches_all_nodes_costs_a_little_for_each() {
    let mut site = Site::new(20);
    let nodes = site.translator.world().nodes().len();
    for kind in EventKind::ALL {
        let (work, allocated) = site.dearest(kind, Reach::All);
        println!("{kind}: {work:?} {allocated:?}");
        assert!(work.assembled <= 10, "{kind}: {work:?}");
        assert!(work.assembled + work.patched + work.members >= nodes, "{kind}: {work:?}");
        assert!(work.deltas <= 20, "{kind}: nodes with the same change share its statements: {work:?}");
        // A third more than they are.
        let each = |all: u64| all / nodes as u64;
        let (count, bytes) = (each(allocated.count_total), each(allocated.bytes_total));
        assert!(count <= 11 && bytes <= 3_400, "{kind}: {count} allocations of {bytes} bytes for each node");
    }
}

#[test]
fn what_guards_unready_pods_costs_an_event_one_node_at_most() {
    let (mut plain, mut guarded) = (Site::new(20), Site::guarded(20));
    let nodes = guarded.translator.world().nodes().keys();
    let outputs = nodes.filter_map(|name| guarded.translator.output(name));
    let known = outputs.filter_map(|output| Some(output.node_rules().guard.as_ref()?.known().count()));
    assert!(known.sum::<usize>() > 5_000, "the blocks are around the pods");
    for kind in EventKind::ALL {
        for reach in [Reach::Few, Reach::All] {
            let (plain_work, plain_allocated) = plain.dearest(kind, reach);
            let (work, allocated) = guarded.dearest(kind, reach);
            println!("{kind}: {plain_work:?} {plain_allocated:?}\n    {work:?} {allocated:?}");
            assert!(work.assembled <= plain_work.assembled + 1, "{kind}: {work:?} and not {plain_work:?}");
            assert!(
                work.patched <= plain_work.patched && work.members <= plain_work.members,
                "{kind}: {work:?}"
            );
            let most = plain_allocated.count_total + plain_allocated.count_total / 4 + 400;
            assert!(allocated.count_total <= most, "{kind}: {} allocations", allocated.count_total);
        }
    }
}

#[test]
fn a_pod_more_deletes_nothing_and_so_waits_for_no_grace_period() {
    for mut site in [Site::new(20), Site::guarded(20)] {
        for reach in [Reach::Few, Reach::All] {
            let event = site.events.event(EventKind::PodAdded, reach, 0).expect("the shape has such objects");
            site.translator.apply(event.change);
            let changes = site.translator.pass().changes;
            assert!(!changes.is_empty());
            for NodeChange { before, after, body } in changes {
                let (before, body) = (before.unwrap(), body.unwrap());
                let end = body.end(before.revision(), after.revision(), &Superseded::default());
                let script = String::from_utf8(body.script(&end).bytes().to_vec()).unwrap();
                assert!(!script.contains("delete") && !script.contains("flush"), "{script}");
            }
            site.translator.apply(event.undo);
            site.translator.pass();
        }
    }
}

#[test]
fn what_changes_nothing_costs_nothing() {
    let mut site = Site::new(100);
    let event = site.events.event(EventKind::PodAdded, Reach::All, 0).expect("the shape has such objects");
    site.make(event.change.clone());
    let (work, _) = site.make(event.change);
    assert_eq!(work, Work::default());
}
