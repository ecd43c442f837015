use std::time::Duration;

use flock_compiler_core::UnreadyPods;
use flock_compiler_core::judge::Judge;
use flock_compiler_core::object::Direction;
use flock_proto::{DROPS_LIMIT, DropDirection, DroppedFlow, Unlisted};
use flock_shared::NamespaceName;

use super::*;

fn node(number: usize) -> NodeName {
    NodeName::new(&format!("n{number}")).unwrap()
}

fn key(number: u32) -> DropKey {
    let [_, high, middle, low] = number.to_be_bytes();
    DropKey {
        source: [10, high, middle, low].into(),
        destination: [10, 0, 0, 2].into(),
        protocol: 6,
        port: 80,
        direction: DropDirection::Ingress,
    }
}

fn drops(numbers: impl Iterator<Item = u32>, packets: u64) -> Drops {
    let flow = |number| DroppedFlow { key: key(number), packets, ago: Duration::from_secs(2) };
    Drops::new(numbers.map(flow).collect(), Unlisted { ingress: 0, egress: 1 })
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn flows_are_added_up_with_the_newest_first() {
    let hub = DropsHub::default();
    hub.record(&node(1), drops([1, 2].into_iter(), 3), at(100));
    hub.record(&node(1), drops([1].into_iter(), 4), at(110));
    hub.record(&node(2), drops([9].into_iter(), u64::MAX), at(110));
    hub.record(&node(2), drops([9].into_iter(), 1), at(111));
    let known = |packets, since, last| KnownFlow { packets, recent: 0, since: at(since), last: at(last) };
    let first = [(node(1), key(1), known(7, 100, 108)), (node(1), key(2), known(3, 100, 98))];
    assert_eq!(hub.flows(Some(&node(1))), first);
    assert_eq!(hub.flows(None).len(), 3);
    let totals = NodeTotals { ingress: 10, unlisted_egress: 2, ..NodeTotals::default() };
    assert_eq!(hub.totals(&node(1)), Some(totals));
    assert_eq!(hub.totals(&node(2)).unwrap().ingress, u64::MAX, "what a node says does not wrap");
    hub.forget(|name| *name == node(1));
    assert_eq!((hub.flows(Some(&node(1))), hub.totals(&node(1)), hub.flows(None).len()), (vec![], None, 1));
}

#[test]
fn a_node_fills_its_own_share_and_hides_nobody_elses_flows() {
    let hub = DropsHub::default();
    hub.record(&node(0), drops([7].into_iter(), 1), at(1));
    let limit = u32::try_from(DROPS_LIMIT).unwrap();
    for round in 0..5 {
        hub.record(&node(1), drops(round * limit..(round + 1) * limit, 1), at(2));
    }
    assert_eq!(hub.flows(Some(&node(1))).len(), FLOWS_OF_NODE);
    assert_eq!(hub.flows(Some(&node(1)))[0].1, key(5 * limit - 1), "the newest are kept");
    // As many nodes as it takes to fill all that there is, and some more.
    let nodes = FLOWS_KEPT / FLOWS_OF_NODE + 20;
    for number in 1..nodes {
        for round in 0..2 {
            hub.record(&node(number), drops(round * 512..(round + 1) * 512, 1), at(3));
        }
    }
    assert_eq!(hub.flows(None).len(), FLOWS_KEPT);
    assert_eq!(hub.flows(Some(&node(0))).len(), 1, "who has few loses none");
    let least = (1..nodes).map(|number| hub.flows(Some(&node(number))).len()).min().unwrap();
    assert!(least + 1 >= FLOWS_KEPT / nodes, "{least}");
    hub.forget(|_| true);
    let kept = locked(&hub.kept);
    assert_eq!((kept.flows, kept.sizes.len(), kept.nodes.len()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn agents_are_told_for_as_long_as_somebody_watches() {
    let hub = Arc::new(DropsHub::default());
    let wanted = hub.wanted();
    let watched = || wanted.borrow().watched;
    assert!(!watched());
    let (first, mut second) = (hub.subscribe().unwrap(), hub.subscribe().unwrap());
    assert!(watched());
    drop(first);
    assert!(watched());
    hub.record(&node(1), drops([1].into_iter(), 3), at(1));
    let told = NodeDrops { node: node(1), at: at(1), drops: drops([1].into_iter(), 3) };
    assert_eq!(second.next().await, Some(DropsEvent::Drops(Arc::new(told))));
    drop(second);
    assert!(!watched());
    hub.ask();
    hub.ask();
    assert_eq!(wanted.borrow().reading, 1, "who asks at the same time is answered together");
    tokio::time::advance(TOGETHER / 2).await;
    hub.ask();
    assert_eq!(wanted.borrow().reading, 1);
    tokio::time::advance(TOGETHER / 2).await;
    hub.ask();
    assert_eq!(wanted.borrow().reading, 2, "a second after the first, also where many ask in between");
}

#[test]
fn so_many_watch_and_no_more() {
    let hub = Arc::new(DropsHub::default());
    let mut watchers: Vec<DropsWatcher> = (0..WATCHERS).map(|_| hub.subscribe().unwrap()).collect();
    assert!(hub.subscribe().is_none());
    watchers.pop();
    assert!(hub.subscribe().is_some());
}

#[tokio::test]
async fn a_watcher_that_stalls_holds_nobody_up_and_hears_how_much_it_missed() {
    let hub = Arc::new(DropsHub::default());
    let (mut stalled, mut quick) = (hub.subscribe().unwrap(), hub.subscribe().unwrap());
    for number in 0..1000 {
        hub.record(&node(1), drops([number].into_iter(), 1), at(1));
        let Some(DropsEvent::Drops(heard)) = quick.next().await else { panic!("the quick one missed some") };
        assert_eq!(heard.drops.flows()[0].key, key(number));
    }
    assert_eq!(stalled.next().await, Some(DropsEvent::Missed(1000 - BATCHES as u64)));
    assert!(matches!(stalled.next().await, Some(DropsEvent::Drops(_))));
}

#[test]
fn packets_are_counted_by_the_isolated_pods_namespace_where_it_is_on_the_node() {
    let world = crate::self_check::tests::world(crate::self_check::tests::CLUSTER);
    let judge = Judge::new(&world, UnreadyPods::Allow);
    let flow = |source: &str, destination: &str, port, packets| DroppedFlow {
        key: DropKey {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol: 6,
            port,
            direction: DropDirection::Ingress,
        },
        packets,
        ago: Duration::ZERO,
    };
    let flows = vec![
        flow("10.1.0.9", "10.1.0.4", 80, 3),
        flow("10.1.0.9", "10.1.0.4", 81, 4),
        // Of objects that have changed since.
        flow("10.1.0.2", "10.1.0.4", 5432, 5),
        // Nobody's, and what has just begun.
        flow("10.1.0.9", "10.1.0.77", 80, 6),
        flow("10.1.0.9", "10.1.0.4", 82, 0),
    ];
    let drops = Drops::new(flows, Unlisted { ingress: 7, egress: 0 });
    let shop = Some(NamespaceName::new("shop").unwrap());
    let counted = |node: &str| count::counted(&judge, &NodeName::new(node).unwrap(), &drops);
    let ingress = Direction::Ingress;
    let expected = [
        ((None, ingress, "no_room"), 7),
        ((None, ingress, "other"), 6),
        ((shop.clone(), ingress, "isolated"), 7),
        ((shop, ingress, "other"), 5),
    ];
    assert_eq!(counted("n2"), expected.into());
    assert!(counted("n1").keys().all(|(namespace, ..)| namespace.is_none()), "db is not there");
}
