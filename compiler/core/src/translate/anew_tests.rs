//! Indexes that are broken on purpose: what a debug build does, and what a release does.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use flock_shared::{NamespaceName, PodKey, PolicyKey};

use super::*;
use crate::change::{Change, Edit};
use crate::invariant::OnBreak;
use crate::label::{Labels, Operator, Requirement, Selector};
use crate::object::{
    Direction, Lifecycle, NamespaceScope, Node, Peer, PeerMatch, PodNetwork, PodPeer, Policy, PolicyBody,
    PolicyRules, Rule, RulePorts,
};
use crate::translate::Translator;
use crate::translate::{Options, translate_with};

fn options(on_break: OnBreak) -> Options {
    Options { on_break, ..Options::default() }
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn pod(name: &str, app: &str, address: &str, at: &str) -> Pod {
    Pod {
        key: PodKey::new("bank", name).unwrap(),
        uid: None,
        node: Some(node(at)),
        labels: [("app", app)].into_iter().collect::<Labels>(),
        network: PodNetwork::own([address.parse().unwrap()].into(), None),
        lifecycle: Lifecycle::Live,
        ports: [].into(),
        scheduled: None,
        owner: Default::default(),
        faults: Vec::new(),
    }
}

fn app(name: &str) -> Selector {
    [Requirement { key: "app".into(), operator: Operator::In([name.into()].into()) }].into_iter().collect()
}

/// Pods of one app take in what comes from those of another.
fn policy(name: &str, to: &str, from: &str) -> Policy {
    let bank = NamespaceName::new("bank").unwrap();
    let from = PodPeer { namespaces: NamespaceScope::Named(bank), pods: app(from) };
    let rule = Rule { peers: PeerMatch::OneOf(vec![Peer::Pods(from.into())]), ports: RulePorts::Any };
    Policy::new(
        PolicyKey::new("bank", name).unwrap(),
        app(to),
        PolicyBody::Understood(PolicyRules { ingress: Some([rule].into()), egress: None }),
    )
}

fn objects() -> [Change; 3] {
    let pods = vec![
        pod("till-1", "till", "10.0.1.1", "n1"),
        pod("till-2", "till", "10.0.2.1", "n2"),
        pod("safe-1", "safe", "10.0.1.2", "n1"),
        pod("hall-1", "hall", "10.0.2.2", "n2"),
    ];
    [
        Change::Node(Edit::Replace(["n1", "n2", "n3"].map(|name| Node::new(node(name))).into())),
        Change::Pod(Edit::Replace(pods)),
        Change::Policy(Edit::Replace(vec![policy("a", "safe", "till"), policy("b", "till", "hall")])),
    ]
}

/// A translator, and what is published of it.
struct Scene {
    translator: Translator,
    published: BTreeMap<NodeName, Arc<Output>>,
}

impl Scene {
    fn new(on_break: OnBreak) -> Self {
        let mut translator = Translator::with(options(on_break));
        objects().into_iter().for_each(|change| _ = translator.apply(change));
        let mut scene = Self { translator, published: BTreeMap::new() };
        assert_eq!(scene.pass().broken, None);
        scene
    }

    fn apply(&mut self, change: Change) {
        assert!(self.translator.apply(change));
    }

    /// A pass, published as the board does it.
    fn pass(&mut self) -> Pass {
        let pass = self.translator.pass();
        for change in &pass.changes {
            let before = self.published.insert(change.after.node().clone(), Arc::clone(&change.after));
            assert_eq!(before, change.before, "a state leads on from the one that is published");
            assert!(before.is_none_or(|before| before != change.after), "a state that is no news");
        }
        pass.gone.iter().for_each(|name| drop(self.published.remove(name).unwrap()));
        pass
    }

    /// What is published is what a translation from nothing comes to.
    fn compare(&self) {
        let fresh = translate_with(self.translator.world(), options(OnBreak::Panic));
        assert_eq!(&self.published, fresh.nodes());
        for name in self.published.keys() {
            assert_eq!(self.translator.output(name).as_ref(), self.published.get(name));
        }
        assert_eq!(self.translator.problems(), fresh.problems());
    }

    fn rules(&self) -> Vec<crate::collections::ids::RuleSetId> {
        self.translator
            .indexes
            .groups
            .iter()
            .filter_map(|(_, group)| match group.outcome {
                crate::translate::rules::applied_to::Outcome::Rules(id) => Some(id),
                _ => None,
            })
            .collect()
    }
}

fn first_pod(translator: &Translator) -> crate::collections::ids::PodId {
    let pod = &translator.world.pods()[&PodKey::new("bank", "till-1").unwrap()];
    translator.indexes.cluster.pod_id(pod).unwrap()
}

/// What breaks an index, and has something look at it.
type Break = fn(&mut Scene);

/// Ways to break one, each with what is wrong afterwards.
const BREAKS: [(&str, Break); 5] = [
    ("a pod that everybody still refers to is gone", |scene| {
        let id = first_pod(&scene.translator);
        scene.translator.indexes.cluster.pods.remove(id);
        scene.apply(Change::Pod(Edit::Upsert(pod("safe-1", "hall", "10.0.1.2", "n1"))));
    }),
    ("a rule set is let go by one that does not hold it", |scene| {
        let rules = scene.rules();
        rules.iter().for_each(|id| scene.translator.indexes.rule_sets.interner.release(*id));
        scene.apply(Change::Policy(Edit::Delete(PolicyKey::new("bank", "a").unwrap())));
    }),
    ("a label leads to a pod no longer", |scene| {
        let id = first_pod(&scene.translator);
        let labels = scene.translator.indexes.cluster.pod(id).unwrap().pod.labels.clone();
        scene.translator.indexes.cluster.pod_labels.remove(id, &labels);
        scene.apply(Change::Pod(Edit::Upsert(pod("till-1", "hall", "10.0.1.1", "n1"))));
    }),
    ("an address is claimed by nobody", |scene| {
        let id = first_pod(&scene.translator);
        scene.translator.indexes.cluster.owners.disclaim(&"10.0.1.1".parse().unwrap(), id);
        scene.apply(Change::Pod(Edit::Delete(PodKey::new("bank", "till-1").unwrap())));
    }),
    ("a group has lost a pod that is in it", |scene| {
        let id = first_pod(&scene.translator);
        let entry = scene.translator.indexes.cluster.pod_mut(id).unwrap();
        let group = entry.group(Direction::Ingress);
        entry.set_group(Direction::Ingress, None);
        let safe = PodKey::new("bank", "safe-1").unwrap();
        let safe = scene.translator.indexes.cluster.pod_id(&scene.translator.world.pods()[&safe]).unwrap();
        scene.translator.indexes.cluster.pod_mut(safe).unwrap().set_group(Direction::Ingress, group);
        scene.apply(Change::Pod(Edit::Delete(PodKey::new("bank", "safe-1").unwrap())));
    }),
];

#[test]
fn a_debug_build_panics() {
    for (what, break_it) in BREAKS {
        let mut scene = Scene::new(OnBreak::default());
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            break_it(&mut scene);
            scene.pass()
        }));
        assert!(outcome.is_err(), "{what}");
    }
}

#[test]
fn a_release_starts_again_from_nothing_in_the_same_pass() {
    for (what, break_it) in BREAKS {
        let mut scene = Scene::new(OnBreak::Note);
        break_it(&mut scene);
        let broken = scene.pass().broken.unwrap_or_else(|| panic!("{what}: was not noticed"));
        assert!(broken.is_mended && broken.count > 0 && broken.first.contains(".rs:"), "{what}: {broken}");
        scene.compare();
        scene.apply(Change::Policy(Edit::Upsert(policy("c", "hall", "safe"))));
        assert_eq!(scene.pass().broken, None, "{what}: it goes on as before");
        scene.compare();
    }
}

#[test]
fn a_translation_from_nothing_that_breaks_leaves_what_is_published_until_one_does_not() {
    let mut scene = Scene::new(OnBreak::Note);
    let lost: fn(&mut Translator) = |translator| {
        let id = first_pod(translator);
        translator.indexes.cluster.pods.remove(id);
    };
    let before = scene.published.clone();
    scene.translator.plant = Some(lost);
    scene.apply(Change::Pod(Edit::Upsert(pod("till-1", "till", "10.0.1.9", "n1"))));
    for _ in 0..2 {
        let pass = scene.pass();
        let broken = pass.broken.unwrap();
        assert!(!broken.is_mended && broken.count > 0, "{broken}");
        assert!(pass.changes.is_empty() && pass.gone.is_empty() && pass.released.is_empty());
        for (name, output) in &before {
            assert_eq!(scene.translator.output(name).as_ref(), Some(output), "{name}");
        }
        scene.translator.apply(Change::Pod(Edit::Upsert(pod("till-2", "till", "10.0.2.9", "n2"))));
        scene.translator.apply(Change::Node(Edit::Delete(node("n3"))));
    }
    scene.translator.plant = None;
    let pass = scene.pass();
    assert_eq!(pass.broken, None);
    scene.compare();
    assert_eq!(pass.gone, [node("n3")]);
    let moved: BTreeSet<IpAddr> = pass.moved.iter().copied().collect();
    let all = ["10.0.1.1", "10.0.1.9", "10.0.2.1", "10.0.2.9"].map(|address| address.parse().unwrap());
    assert_eq!(moved, all.into(), "nothing that happened in between is forgotten");
    let left = ["10.0.1.1", "10.0.2.1"].map(|address| address.parse().unwrap());
    assert!(left.iter().all(|address| pass.released.contains(address)), "{:?}", pass.released);
}

#[test]
fn a_first_pass_that_breaks_says_nothing_of_any_node() {
    let mut translator = Translator::with(options(OnBreak::Note));
    objects().into_iter().for_each(|change| _ = translator.apply(change));
    translator.plant = Some(|translator| {
        let id = translator.indexes.cluster.pods.ids().next().unwrap();
        translator.indexes.cluster.pods.remove(id);
    });
    let pass = translator.pass();
    assert!(pass.changes.is_empty() && pass.broken.is_some_and(|broken| !broken.is_mended));
    assert_eq!(translator.output(&node("n1")), None);
}

#[test]
fn starting_over_comes_to_the_same_and_follows_what_changes_meanwhile() {
    let mut translator = Translator::default();
    for change in objects() {
        translator.apply(change);
    }
    let first = translator.pass();
    assert!(!first.changes.is_empty());
    translator.start_over();
    let again = translator.pass();
    assert!(again.changes.is_empty() && again.gone.is_empty() && again.broken.is_none(), "{again:?}");
    // Between the decision and the pass, and with nothing indexed.
    translator.start_over();
    translator.start_over();
    translator.apply(Change::Pod(Edit::Upsert(pod("till-9", "till", "10.0.1.9", "n1"))));
    translator.pass();
    let fresh = translate_with(translator.world(), Options::default());
    for (name, output) in fresh.nodes() {
        assert_eq!(translator.output(name).unwrap().revision(), output.revision());
    }
}
