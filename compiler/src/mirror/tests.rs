//! What is mirrored equals what the engine has, whatever happens; and questions keep what they hold.

use flock_compiler_core::object::{Namespace, Node, Pod, PodNetwork, Untranslated};
use flock_compiler_core::{Change, Edit, Labels, Translator};
use flock_shared::{NamespaceName, PodKey};
use futures::FutureExt as _;

use super::*;

/// A translator whose passes are told to a mirror, as the engine does.
struct Scene {
    translator: Translator,
    mirror: Mirror,
    writer: FeedWriter,
    sequence: Sequence,
}

fn pod(number: usize) -> Pod {
    let address = std::net::Ipv4Addr::from(0x0a00_0000 + u32::try_from(number).unwrap());
    Pod {
        node: Some(NodeName::new("n1").unwrap()),
        network: PodNetwork::own([address.into()].into_iter().collect(), None),
        ..Pod::new(PodKey::new("shop", &format!("p{number}")).unwrap())
    }
}

impl Scene {
    fn new() -> Self {
        let (mirror, writer) = Mirror::new(Options::default());
        let mut scene = Self { translator: Translator::new(), mirror, writer, sequence: Sequence::default() };
        let shop = Namespace::new(NamespaceName::new("shop").unwrap(), Labels::default());
        scene.pass(vec![
            Change::Node(Edit::Replace(vec![Node::new(NodeName::new("n1").unwrap())])),
            Change::Namespace(Edit::Replace(vec![shop])),
            Change::Pod(Edit::Replace((0..3).map(pod).collect())),
            Change::Policy(Edit::Replace(Vec::new())),
            Change::NodePods(Edit::Replace(Vec::new())),
        ]);
        scene.follow();
        scene
    }

    fn pass(&mut self, changes: Vec<Change>) {
        let Self { translator, writer, .. } = self;
        for change in changes {
            translator.apply_telling(change, |differences| writer.note(differences));
        }
        let pass = self.translator.pass();
        self.sequence = self.sequence.next();
        let changed = pass.changes.iter().map(|change| Arc::clone(&change.after)).collect();
        let header = (self.sequence, Duration::ZERO);
        let over_budget = pass.problems.then(|| self.translator.over_budget());
        self.writer.pass(header, (changed, pass.gone), over_budget, self.translator.world());
    }

    /// Has the mirror take over what it was told.
    fn follow(&self) {
        let news = self.mirror.0.feed.take().now_or_never().unwrap();
        self.mirror.take_over(news);
    }

    fn check(&self) {
        let Snapshot { mirrored, .. } = self.mirror.snapshot();
        assert_eq!(mirrored.sequence, self.sequence);
        let world = self.translator.world();
        assert_eq!(mirrored.world.pods(), world.pods());
        assert_eq!(mirrored.world.nodes(), world.nodes());
        assert_eq!(mirrored.world.namespaces(), world.namespaces());
        assert!(mirrored.world.is_complete());
        assert_eq!(mirrored.index, Index::new(world));
        for (key, pod) in mirrored.world.pods() {
            assert!(Arc::ptr_eq(pod, &world.pods()[key]), "{key} is another value");
        }
        for (node, output) in &mirrored.outputs {
            assert_eq!(Some(output), self.translator.output(node).as_ref());
        }
        assert_eq!(mirrored.outputs.len(), world.node_names().len());
    }
}

#[test]
fn the_mirror_has_the_same_objects_and_outputs() {
    let mut scene = Scene::new();
    scene.check();
    scene.pass(vec![Change::Pod(Edit::Upsert(pod(7))), Change::Pod(Edit::Delete(pod(1).key))]);
    scene.follow();
    scene.check();
    scene.pass(vec![Change::Node(Edit::Upsert(Node::new(NodeName::new("n2").unwrap())))]);
    scene.pass(vec![Change::Node(Edit::Delete(NodeName::new("n2").unwrap()))]);
    scene.follow();
    scene.check();
}

#[test]
fn a_question_keeps_what_it_holds() {
    let mut scene = Scene::new();
    let held = scene.mirror.snapshot();
    scene.pass(vec![Change::Pod(Edit::Upsert(pod(7)))]);
    scene.follow();
    assert_eq!(held.mirrored.world.pods().len(), 3);
    scene.check();
    drop(held);
    let address = Arc::as_ptr(&scene.mirror.snapshot().mirrored);
    scene.pass(vec![Change::Pod(Edit::Upsert(pod(8)))]);
    scene.follow();
    scene.check();
    assert_eq!(Arc::as_ptr(&scene.mirror.snapshot().mirrored), address, "nothing is copied for nobody");
}

#[test]
fn what_concerns_all_nodes_copies_no_objects() {
    let mut scene = Scene::new();
    let named = |number: usize| Node::new(NodeName::new(&format!("node-{number}")).unwrap());
    scene.pass((0..2 * IN_PLACE).map(|number| Change::Node(Edit::Upsert(named(number)))).collect());
    scene.follow();
    let address = Arc::as_ptr(&scene.mirror.snapshot().mirrored);
    // The first addresses of a family: each node's table changes its form.
    let addresses = [std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST)].into_iter().collect();
    let network = PodNetwork::own(addresses, None);
    scene.pass(vec![Change::Pod(Edit::Upsert(Pod { network, ..pod(7) }))]);
    scene.follow();
    assert_eq!(Arc::as_ptr(&scene.mirror.snapshot().mirrored), address);
    scene.check();
}

#[test]
fn a_mirror_that_is_told_too_much_gets_all_objects_instead() {
    let mut scene = Scene::new();
    // One listing that is more than may wait, and then single changes that are too many together.
    scene.pass(vec![Change::Pod(Edit::Replace((10..100_020).map(pod).collect()))]);
    scene.pass(vec![Change::Pod(Edit::Upsert(pod(1)))]);
    scene.follow();
    scene.check();
    let edits = |of: std::ops::Range<usize>| of.map(|it| Change::Pod(Edit::Delete(pod(it).key))).collect();
    scene.pass(edits(10..60_000));
    scene.pass(edits(60_000..100_018));
    scene.pass(vec![Change::Pod(Edit::Upsert(pod(2)))]);
    let news = scene.mirror.0.feed.take().now_or_never().unwrap();
    let waiting: usize = news
        .iter()
        .map(|it| match &it.objects {
            Objects::Changed(all) => all.iter().map(flock_compiler_core::world::Differences::len).sum(),
            Objects::All(_) => 0,
        })
        .sum();
    assert!(waiting <= 100_000, "{waiting}");
    scene.mirror.take_over(news);
    scene.check();
}

#[test]
fn earlier_objects_are_found_again() {
    let mut scene = Scene::new();
    let first = scene.sequence;
    let before = scene.translator.world().clone();
    scene.pass(vec![Change::Pod(Edit::Upsert(pod(7))), Change::Pod(Edit::Delete(pod(1).key))]);
    scene.follow();
    let (second, between) = (scene.sequence, scene.translator.world().clone());
    scene.pass(vec![Change::Pod(Edit::Upsert(pod(1))), Change::Pod(Edit::Delete(pod(0).key))]);
    scene.follow();
    let now = scene.mirror.snapshot().mirrored;
    for (sequence, expected) in [(first, &before), (second, &between), (scene.sequence, &now.world)] {
        let way = scene.mirror.history(|history| history.way_back(now.sequence, sequence)).unwrap();
        assert_eq!(rewound(&now.world, &way).pods(), expected.pods(), "{sequence:?}");
    }
    assert_eq!(scene.mirror.history(|history| history.way_back(now.sequence, Sequence::default())), None);
}

#[test]
fn passes_are_recorded() {
    let mut scene = Scene::new();
    scene.pass(vec![Change::Pod(Edit::Upsert(pod(7))), Change::Pod(Edit::Delete(pod(1).key))]);
    scene.pass((20..60).map(|it| Change::Pod(Edit::Upsert(pod(it)))).collect());
    scene.follow();
    scene.mirror.history(|history| {
        let all: Vec<_> = history.passes().collect();
        assert_eq!(all.iter().map(|it| it.sequence.number()).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(
            all[1].objects.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["Pod shop/p7", "Pod shop/p1"]
        );
        assert_eq!((all[0].objects.len(), all[0].total()), (20, 40));
    });
}

/// The namespace, which says that these findings are ignored.
fn shop(ignored: &str) -> Namespace {
    let ignored_lints = Untranslated([ignored.parse().unwrap()].into());
    Namespace { ignored_lints, ..Namespace::new(NamespaceName::new("shop").unwrap(), Labels::default()) }
}

#[test]
fn what_matters_to_no_rule_is_mirrored_without_a_pass() {
    let mut scene = Scene::new();
    let passes = |scene: &Scene| scene.mirror.history(|history| history.passes().count());
    let ignored = |scene: &Scene| {
        let Snapshot { mirrored, .. } = scene.mirror.snapshot();
        mirrored
            .world
            .namespaces()
            .values()
            .next()
            .unwrap()
            .ignored_lints
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let before = passes(&scene);
    let says = |scene: &mut Scene, object: Namespace| {
        let Scene { translator, writer, sequence, .. } = scene;
        let change = Change::Namespace(Edit::Upsert(object));
        let differs = translator.apply_telling(change, |differences| writer.note(differences));
        writer.without_pass(*sequence, translator.world());
        differs
    };
    assert!(!says(&mut scene, shop("FLK001")));
    scene.follow();
    scene.check();
    let named = |scene: &Scene| {
        let world = scene.translator.world();
        let found = &scene.mirror.snapshot().mirrored.world;
        found.namespaces().iter().all(|(name, object)| Arc::ptr_eq(object, &world.namespaces()[name]))
    };
    assert!(named(&scene));
    assert_eq!((ignored(&scene), passes(&scene)), (vec!["FLK001".to_owned()], before));
    // Nothing is told twice, and nothing before the pass that it comes with.
    scene.writer.without_pass(scene.sequence, scene.translator.world());
    let labels = [("a", "b")].into_iter().collect();
    assert!(says(&mut scene, Namespace { labels, ..shop("FLK001") }));
    assert!(!says(&mut scene, Namespace { labels: [("a", "b")].into_iter().collect(), ..shop("FLK002") }));
    assert!(scene.mirror.0.feed.take().now_or_never().is_none());
    scene.pass(Vec::new());
    scene.follow();
    scene.check();
    assert!(named(&scene));
    assert_eq!((ignored(&scene), passes(&scene)), (vec!["FLK002".to_owned()], before + 1));
    let told = scene.mirror.history(|history| history.passes().next().unwrap().total());
    assert_eq!(told, 1, "the labels, and not what is ignored");
}

#[tokio::test(start_paused = true)]
async fn an_engine_tells_what_matters_to_no_rule_at_once() {
    let (engine, handle) = crate::engine::Engine::new(Arc::default());
    let (events, incoming) = tokio::sync::mpsc::channel(16);
    tokio::spawn(engine.run(incoming));
    let listings = vec![
        Change::Node(Edit::Replace(Vec::new())),
        Change::Namespace(Edit::Replace(vec![shop("FLK001")])),
        Change::Pod(Edit::Replace(Vec::new())),
        Change::Policy(Edit::Replace(Vec::new())),
        Change::NodePods(Edit::Replace(Vec::new())),
    ];
    events.send(listings.into()).await.unwrap();
    let ignored = |code: &'static str| {
        let mirror = handle.mirror();
        let is_told = move || {
            let Snapshot { mirrored, .. } = mirror.snapshot();
            let namespace = mirrored.world.namespaces().values().next().cloned();
            namespace.is_some_and(|namespace| namespace.ignored_lints.iter().any(|it| it.to_string() == code))
        };
        async move {
            for _ in 0..1000 {
                if is_told() {
                    return true;
                }
                sleep(Duration::from_millis(10)).await;
            }
            false
        }
    };
    assert!(ignored("FLK001").await);
    let pass = handle.mirror().snapshot().mirrored.sequence;
    events.send(vec![Change::Namespace(Edit::Upsert(shop("FLK002")))].into()).await.unwrap();
    assert!(ignored("FLK002").await);
    assert_eq!(handle.mirror().snapshot().mirrored.sequence, pass);
}
