//! The engine's clock: who is waited for, and for how long.

use flock_compiler_core::object::{
    Direction, Facts, Lifecycle, Node, Pod, PodCidr, PodNetwork, Policy, PolicyBody, PolicyRules,
};
use flock_compiler_core::output::Closing;
use flock_compiler_core::{Labels, Selector};
use flock_shared::{NodeName, PodKey, PolicyKey};

use super::*;

const NAME: &str = "n1";

fn name() -> NodeName {
    NodeName::new(NAME).unwrap()
}

/// A pod of the isolated namespace on its way.
fn coming(pod: &str) -> Pod {
    Pod {
        key: PodKey::new("bank", pod).unwrap(),
        uid: None,
        node: Some(name()),
        labels: Labels::default(),
        network: PodNetwork::own([].into(), None),
        lifecycle: Lifecycle::Live,
        ports: [].into(),
        scheduled: None,
        owner: Default::default(),
        faults: Vec::new(),
    }
}

/// An engine whose node n1 has a block, an agent that keeps its table told, and an isolated namespace `bank`.
struct Scene {
    events: mpsc::Sender<SourceEvent>,
    handle: EngineHandle,
    desired: Desired,
    metrics: Arc<Metrics>,
}

impl Scene {
    async fn new() -> Self {
        let metrics = Arc::new(Metrics::default());
        let options = Options { unready_pods: UnreadyPods::Expected, ..Options::default() };
        let (engine, handle) = Engine::with(options, Arc::clone(&metrics));
        let (events, incoming) = mpsc::channel(16);
        tokio::spawn(engine.run(incoming));
        let cidr = PodCidr::new("10.1.1.0/24".parse().unwrap()).unwrap();
        let deny = Policy::new(
            PolicyKey::new("bank", "deny").unwrap(),
            Selector::everything(),
            PolicyBody::Understood(PolicyRules { ingress: Some([].into()), egress: None }),
        );
        let changes = vec![
            Change::Node(Edit::Replace(vec![Node { pod_cidrs: [cidr].into(), ..Node::new(name()) }])),
            Change::Namespace(Edit::Replace(Vec::new())),
            Change::Pod(Edit::Replace(Vec::new())),
            Change::Policy(Edit::Replace(vec![deny])),
            Change::NodePods(Edit::Replace(Vec::new())),
        ];
        events.send(SourceEvent::from(changes)).await.unwrap();
        let facts = Facts { grammar: 2, ..Facts::nothing_of(name()) };
        let desired = handle.subscribe_agent(name(), Some(facts)).await.unwrap();
        let mut scene = Self { events, handle, desired, metrics };
        scene.until(false).await;
        scene
    }

    async fn upsert(&self, pod: Pod) {
        let changes = vec![Change::Pod(Edit::Upsert(pod))];
        self.events.send(SourceEvent::from(changes)).await.unwrap();
    }

    /// Waits until the node is to be closed towards unknown addresses, or is not to be.
    async fn until(&mut self, is_closed: bool) {
        let is_so = |state: &Option<Arc<Published>>| {
            let frame = state.as_ref().map(|state| Arc::clone(state.output().node_rules()));
            let closing = frame.and_then(|frame| Some(frame.guard.as_ref()?.closing));
            closing.is_some_and(|it| it != Closing::Always && it.is_closed(Direction::Ingress) == is_closed)
        };
        self.desired.wait_for(is_so).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_arrives_closes_its_node_for_a_minute() {
    let mut scene = Scene::new().await;
    let begun = Instant::now();
    scene.upsert(coming("teller")).await;
    scene.until(true).await;
    scene.until(false).await;
    let waited = begun.elapsed();
    assert!((60..62).contains(&waited.as_secs()), "{waited:?}");
    // Behind the pass that published that.
    assert!(scene.handle.problems().await.unwrap().is_empty());
    assert!(scene.metrics.text().contains("flock_compiler_overdue{what=\"pod\"} 1"));
    // Another one is waited for.
    scene.upsert(coming("clerk")).await;
    scene.until(true).await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_whose_pods_never_arrive_closes_the_node_no_more_until_that_is_long_ago() {
    let mut scene = Scene::new().await;
    for pod in ["a", "b", "c", "d"] {
        scene.upsert(coming(pod)).await;
    }
    scene.until(true).await;
    scene.until(false).await;
    let told = |problems: Vec<Problem>| problems.iter().any(|it| it.object == "Namespace bank");
    assert!(told(scene.handle.problems().await.unwrap()));
    scene.upsert(coming("e")).await;
    // It closes nothing; nor does it later, for it is overdue once its namespace is forgiven.
    let is_over = |metrics: &Metrics| metrics.text().contains("flock_compiler_overdue{what=\"namespace\"} 1");
    assert!(is_over(&scene.metrics));
    let begun = Instant::now();
    while is_over(&scene.metrics) {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let state = scene.desired.borrow().clone().unwrap();
        let closing = state.output().node_rules().guard.as_ref().unwrap().closing;
        assert_eq!(closing, Closing::Expecting(None));
        assert!(begun.elapsed() < Duration::from_secs(900));
    }
    assert!(!told(scene.handle.problems().await.unwrap()));
    scene.upsert(coming("f")).await;
    scene.until(true).await;
}
