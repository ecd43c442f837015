//! An engine that is told what to know, and agents that come with more than that.

use std::sync::Arc;
use std::time::Duration;

use flock_compiler_core::object::Namespace;
use flock_compiler_core::{Change, Edit};
use flock_proto::{Ack, Outcome};
use flock_shared::{Revision, ScriptHash, Superseded};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::*;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::service::Limits;
use crate::source::{Events, Kind, KindProgress, Reached, SourceEvent};

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(3600);

fn limits(lag: Duration, rewind: Duration) -> Limits {
    Limits { lag, rewind, ..Limits::default() }
}

/// Agents are held for as long as it takes.
fn patient() -> Limits {
    limits(NEVER, NEVER)
}

/// Agents are sent away as soon as they would have to wait.
fn impatient() -> Limits {
    limits(Duration::from_millis(1), NEVER)
}

/// A replica whose source is the test.
struct Replica {
    context: Context,
    events: Events,
    _stop: watch::Sender<bool>,
}

impl Replica {
    fn start(limits: Limits) -> Self {
        let metrics = Arc::new(Metrics::default());
        let (engine, handle) = Engine::new(Arc::clone(&metrics));
        let (events, incoming) = mpsc::channel(8);
        tokio::spawn(engine.run(incoming));
        let (stop, stopping) = watch::channel(false);
        let context = Context { limits, ..Context::in_memory(handle, metrics, stopping) };
        Self { context, events, _stop: stop }
    }

    /// One that has read each kind through version 100, and nothing newer than 7.
    async fn ready(limits: Limits) -> Self {
        let replica = Self::start(limits);
        let empty = [
            (Kind::Node, Change::Node(Edit::Replace(Vec::new()))),
            (Kind::Namespace, Change::Namespace(Edit::Replace(Vec::new()))),
            (Kind::Pod, Change::Pod(Edit::Replace(Vec::new()))),
            (Kind::NetworkPolicy, Change::Policy(Edit::Replace(Vec::new()))),
            (Kind::NodePods, Change::NodePods(Edit::Replace(Vec::new()))),
        ];
        for (kind, change) in empty {
            let reached = Reached::Listing { newest: version(7), through: version(100) };
            replica.read(kind, reached, vec![change]).await;
        }
        replica.context.engine.readiness().wait_for(|ready| *ready).await.unwrap();
        replica
    }

    async fn read(&self, kind: Kind, reached: Reached, changes: Vec<Change>) {
        let progress = Some(KindProgress { kind, reached });
        self.events.send(SourceEvent::Changes { changes, progress, observed: Instant::now() }).await.unwrap();
    }

    /// A namespace that appears at a version.
    async fn appear(&self, at: u32) {
        let name = format!("n{at}").parse().unwrap();
        let change = Change::Namespace(Edit::Upsert(Namespace::new(name, Default::default())));
        self.read(Kind::Namespace, Reached::Event(version(at)), vec![change]).await;
    }

    /// The store itself is asked.
    async fn look(&self, at: u32) {
        for kind in Kind::ALL {
            let reached = Reached::Store { at: version(at), asked: Instant::now() };
            self.read(kind, reached, Vec::new()).await;
        }
    }

    async fn bookmark(&self, at: u32) {
        for kind in Kind::ALL {
            self.read(kind, Reached::Bookmark(version(at)), Vec::new()).await;
        }
    }

    /// What becomes of an agent that comes with `position`.
    async fn serve(&self, position: &str) -> Result<StreamPosition, Status> {
        self.serve_with(position, &mut tokio_stream::pending()).await
    }

    async fn serve_with(
        &self,
        position: &str,
        messages: &mut (impl Stream<Item = Result<v1::AgentMessage, Status>> + Unpin),
    ) -> Result<StreamPosition, Status> {
        let desired = self.context.engine.subscribe(node()).await.unwrap();
        let (hello, fleet) = (hello(position), &self.context.fleet);
        wait(&self.context, &hello, &fleet.open(&hello), &desired, messages).await
    }

    /// Waiting now, refused and taken back so far.
    fn counts(&self) -> (i64, u64, u64) {
        let metrics = &self.context.metrics;
        (metrics.waiting.get(), metrics.refusals.get(), metrics.rollbacks.get())
    }
}

fn version(version: u32) -> crate::source::Version {
    version.to_string().parse().unwrap()
}

fn node() -> NodeName {
    "n1".parse().unwrap()
}

fn hello(position: &str) -> Hello {
    let position = Position::new(position.as_bytes()).unwrap();
    let applied = Some(Revision::of(ScriptHash::of(b"")));
    Hello {
        node: node(),
        agent_version: String::new(),
        nft_version: String::new(),
        applied,
        position,
        drifts: 0,
        superseded: Superseded::default(),
        facts: None,
        refused: Vec::new(),
        grammar: 1,
        cni: false,
        drops: false,
    }
}

fn position(stamp: &StreamPosition) -> String {
    String::from_utf8(stamp.position().as_bytes().to_vec()).unwrap()
}

impl Replica {
    /// Waits until all is published that it was told to read of namespaces.
    async fn until_read(&self, at: u32) {
        let wanted = Versions::of(&hello(&format!("Namespace={at}")).position);
        self.context
            .engine
            .replica_progress()
            .wait_for(|progress| progress.gaps(&wanted).is_empty())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn who_knows_nothing_newer_is_served_at_once() {
    let replica = Replica::ready(impatient()).await;
    for position in ["", "Node=7,Pod=100", "NetworkPolicy=99", "Later=999", "not a position"] {
        assert!(replica.serve(position).await.is_ok(), "{position}");
    }
    assert_eq!(replica.counts(), (0, 0, 0));
}

#[tokio::test]
async fn a_quiet_kind_makes_nobody_wait() {
    let (ahead, behind) = (Replica::ready(impatient()).await, Replica::ready(impatient()).await);
    ahead.appear(150).await;
    ahead.bookmark(9000).await;
    ahead.until_read(9000).await;
    behind.appear(150).await;
    behind.until_read(150).await;
    let stamp = ahead.serve("").await.unwrap();
    assert_eq!(position(&stamp), "Node=7,Namespace=150,Pod=7,NetworkPolicy=7,NodePods=7");
    assert!(behind.serve(&position(&stamp)).await.is_ok(), "bookmarks are no news");
}

#[tokio::test]
async fn who_knows_more_waits_until_it_is_known_here() {
    let replica = Replica::ready(patient()).await;
    let serving = replica.serve("Namespace=150");
    tokio::pin!(serving);
    for at in [148, 149] {
        tokio::select! {
            _ = &mut serving => panic!("served too early"),
            () = async { replica.appear(at).await; replica.until_read(at).await } => {}
        }
    }
    tokio::select! {
        biased;
        _ = &mut serving => panic!("served too early"),
        () = std::future::ready(()) => assert_eq!(replica.counts(), (1, 0, 0)),
    }
    replica.appear(150).await;
    let stamp = serving.await.unwrap();
    assert_eq!(position(&stamp), "Node=7,Namespace=150,Pod=7,NetworkPolicy=7,NodePods=7");
    assert_eq!(replica.counts(), (0, 0, 0));
}

#[tokio::test]
async fn what_an_agent_knows_stays_known() {
    let replica = Replica::ready(impatient()).await;
    // Something was deleted at 90, before this replica listed what there was.
    let stamp = replica.serve("Namespace=90").await.unwrap();
    assert_eq!(position(&stamp), "Node=7,Namespace=90,Pod=7,NetworkPolicy=7,NodePods=7");
    replica.appear(101).await;
    replica.until_read(101).await;
    assert_eq!(position(&stamp), "Node=7,Namespace=101,Pod=7,NetworkPolicy=7,NodePods=7");
    // The store was restored from a backup.
    let listing = Reached::Listing { newest: version(5), through: version(80) };
    let none = vec![Change::Namespace(Edit::Replace(Vec::new()))];
    replica.read(Kind::Namespace, listing, none).await;
    let wanted = Versions::of(&hello("Namespace=90").position);
    replica
        .context
        .engine
        .replica_progress()
        .wait_for(|progress| !progress.gaps(&wanted).is_empty())
        .await
        .unwrap();
    assert_eq!(position(&stamp), "Node=7,Namespace=5,Pod=7,NetworkPolicy=7,NodePods=7");
}

#[tokio::test]
async fn who_waits_too_long_is_told_why() {
    let replica = Replica::ready(impatient()).await;
    let status = replica.serve("Namespace=150,Pod=101,Node=100").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let gaps = "Namespace read through 100, the agent is at 150; Pod read through 100, the agent is at 101";
    assert_eq!(status.message(), format!("this replica lags behind: {gaps}"));
    assert_eq!(replica.counts(), (0, 1, 0));
}

#[tokio::test]
async fn a_replica_that_has_not_read_everything_serves_nobody() {
    let status = Replica::start(impatient()).serve("").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("has not read the whole cluster"), "{}", status.message());
}

#[tokio::test]
async fn a_store_that_went_back_locks_nobody_out() {
    let patience = Duration::from_millis(200);
    let replica = Replica::ready(limits(Duration::from_millis(20), patience)).await;
    let start = Instant::now();
    assert!(replica.serve("Namespace=150").await.is_err());
    for _ in 0..3 {
        tokio::time::sleep(patience).await;
        replica.bookmark(100).await;
        assert!(replica.serve("Namespace=150").await.is_err(), "a watch may lag however long");
    }
    replica.look(150).await;
    assert!(replica.serve("Namespace=150").await.is_err(), "the store has it");
    let stamp = loop {
        replica.look(149).await;
        if let Ok(served) = replica.serve("Namespace=150").await {
            break served;
        }
    };
    assert!(start.elapsed() >= patience);
    assert_eq!(
        position(&stamp),
        "Node=7,Namespace=7,Pod=7,NetworkPolicy=7,NodePods=7",
        "what is no more is not carried on"
    );
    assert_eq!(replica.counts().2, 1);
}

#[tokio::test]
async fn lagging_time_and_again_is_not_a_store_that_went_back() {
    let patience = Duration::from_millis(50);
    let replica = Replica::ready(limits(Duration::from_millis(1), patience)).await;
    let start = Instant::now();
    for lag in (0..).step_by(2) {
        replica.appear(101 + lag).await;
        replica.until_read(101 + lag).await;
        // Never the same that was out of reach the last time.
        let since = Instant::now();
        let served = replica.serve(&format!("Namespace={}", 102 + lag)).await;
        assert!(served.is_err() || since.elapsed() >= patience, "taken back at {lag}");
        if start.elapsed() > patience * 4 {
            break;
        }
    }
}

#[tokio::test]
async fn who_goes_away_meanwhile_is_let_go() {
    let replica = Replica::ready(patient()).await;
    let ack = Ack {
        revision: None,
        outcome: Outcome::Malformed,
        error: String::new(),
        took: Duration::ZERO,
        drifts: 0,
    };
    let (sender, messages) = mpsc::channel(1);
    sender.try_send(Ok(AgentMessage::Ack(ack).into())).unwrap();
    drop(sender);
    let served = replica.serve_with("Namespace=150", &mut ReceiverStream::new(messages)).await;
    assert_eq!(served.unwrap_err().code(), Code::Ok);
    assert!(replica.context.fleet.watch(&node()).borrow().failure.is_some(), "what it said is heard");

    let hello_again = AgentMessage::Hello(hello("")).into();
    let served = replica.serve_with("Namespace=150", &mut tokio_stream::iter([Ok(hello_again)])).await;
    assert_eq!(served.unwrap_err().code(), Code::InvalidArgument);
}
