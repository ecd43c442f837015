//! What an agent tells of drops comes to the hub under its node's name, and it is told whether somebody watches; agents
//! that say nothing of drops are told nothing.

use std::sync::Arc;
use std::time::Duration;

use flock_compiler::drops::DropsEvent;
use flock_compiler::service::Limits;
use flock_compiler_core::nft::read::GRAMMAR_DROPS;
use flock_compiler_core::output::Drops as Kept;
use flock_proto::{
    AgentMessage, DROPS_LIMIT, DropDirection, DropKey, DroppedFlow, Drops, DropsWanted, Hello, Unlisted,
    UpdateKind,
};
use flock_testkit::agent::FakeAgent;

use super::agent::{self, hello_of};
use super::compiler::{Compiler, patiently};
use super::objects::node_name;

fn drops(ports: std::ops::Range<u16>) -> Drops {
    let flow = |port| {
        let (source, destination) = ([10, 9, 9, 9].into(), [10, 0, 0, 1].into());
        let key = DropKey { source, destination, protocol: 6, port, direction: DropDirection::Ingress };
        DroppedFlow { key, packets: 2, ago: Duration::from_secs(1) }
    };
    Drops::new(ports.map(flow).collect(), Unlisted::default())
}

async fn agent(compiler: &Compiler, hello: Hello) -> FakeAgent {
    agent::open(compiler.dial().await.0, hello).await
}

/// Whether a node takes down what it drops, as its desired state has it.
async fn keeps(compiler: &Compiler, node: usize) -> Kept {
    compiler.desired(node).await.borrow().as_ref().unwrap().output().node_rules().drops
}

#[tokio::test(start_paused = true)]
async fn a_node_takes_drops_down_if_its_guard_and_its_kernel_take_that() {
    let compiler = Compiler::start(3, Limits::default()).await;
    for (node, drops, grammar, expected) in [
        (0, true, GRAMMAR_DROPS, Kept::Kept),
        (1, false, GRAMMAR_DROPS, Kept::Counted),
        (2, true, GRAMMAR_DROPS - 1, Kept::Counted),
    ] {
        let mut agent = agent(&compiler, Hello { drops, grammar, ..hello_of(node) }).await;
        let (revision, kind) = agent.apply().await;
        assert!(matches!(kind, UpdateKind::Full(_)), "and each has a table");
        assert_eq!((keeps(&compiler, node).await, revision), (expected, compiler.revision(node).await));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_is_kept_and_handed_on_and_whoever_watches_is_told_of() {
    let compiler = Compiler::start(2, Limits::default()).await;
    let hub = Arc::clone(&compiler.context.drops);
    let mut telling = agent(&compiler, hello_of(0)).await;
    let mut other = agent(&compiler, Hello { drops: false, ..hello_of(1) }).await;
    telling.apply().await;
    other.apply().await;
    telling.say(AgentMessage::Drops(drops(1..4))).await;
    patiently(async {
        while hub.flows(None).len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(hub.flows(None).iter().all(|(node, _, flow)| *node == node_name(0) && flow.packets == 2));

    let mut watcher = hub.subscribe().unwrap();
    let wanted = telling.update().await;
    assert_eq!((&wanted.kind, wanted.revision), (&UpdateKind::Current, compiler.revision(0).await));
    assert_eq!(wanted.drops_wanted, Some(DropsWanted { watched: true, reading: 0 }));
    hub.ask();
    assert_eq!(telling.update().await.drops_wanted, Some(DropsWanted { watched: true, reading: 1 }));
    telling.say(AgentMessage::Drops(drops(7..8))).await;
    let Some(DropsEvent::Drops(heard)) = patiently(watcher.next()).await else {
        panic!("nothing was handed on")
    };
    assert_eq!((&heard.node, &heard.drops), (&node_name(0), &drops(7..8)));
    drop(watcher);
    assert_eq!(telling.update().await.drops_wanted, Some(DropsWanted { watched: false, reading: 1 }));
    assert!(!other.is_told_something().await, "it would not know what to do with it");
}

/// Of what is more than an agent ever tells, the sum is kept.
#[tokio::test(start_paused = true)]
async fn an_agent_that_floods_fills_its_own_share_alone() {
    let compiler = Compiler::start(1, Limits::default()).await;
    let hub = Arc::clone(&compiler.context.drops);
    let mut flooding = agent(&compiler, hello_of(0)).await;
    flooding.apply().await;
    let mut watcher = hub.subscribe().unwrap();
    flooding.update().await;
    let many = u16::try_from(DROPS_LIMIT).unwrap();
    for round in 0..20 {
        flooding.say(AgentMessage::Drops(drops(round * many..(round + 1) * many))).await;
    }
    let mut flows = 0;
    for _ in 0..20 {
        let Some(DropsEvent::Drops(heard)) = patiently(watcher.next()).await else { panic!("nothing came") };
        flows += heard.drops.flows().len();
    }
    assert!((DROPS_LIMIT..10 * DROPS_LIMIT).contains(&flows), "{flows}");
    let totals = hub.totals(&node_name(0)).unwrap();
    assert_eq!(totals.ingress + totals.unlisted_ingress, 20 * 2 * DROPS_LIMIT as u64, "nothing is lost");
}
