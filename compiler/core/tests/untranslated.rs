//! What no rule depends on is shown as it is, and makes no pass do anything: two translators are told the same, one of them
//! also who owns pods, which version policies have and what is ignored, which changes all the time.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as tests do")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use flock_compiler_core::change::Object;
use flock_compiler_core::object::{LintCode, Owner, Pod, PolicyMeta, Untranslated, Workload, WorkloadKind};
use flock_compiler_core::sorted::Sorted;
use flock_compiler_core::{Change, Edit, Pass, Translator};
use flock_shared::{NamespaceName, ObjectName, PodKey, PolicyKey};
use proptest::collection::vec;
use proptest::prelude::*;

use flock_model::oracle::cluster::Cluster;
use support::dice::Dice;
use support::generator;
use support::history::Walk;

/// What was told last of each object.
#[derive(Debug, Default, PartialEq)]
struct Told {
    owners: BTreeMap<PodKey, Owner>,
    metas: BTreeMap<PolicyKey, PolicyMeta>,
    ignored: BTreeMap<NamespaceName, Sorted<LintCode>>,
}

impl Told {
    fn of(translator: &Translator) -> Self {
        let world = translator.world();
        Self {
            owners: world.pods().values().map(|pod| (pod.key.clone(), pod.owner.0.clone())).collect(),
            metas: world.policies().values().map(|it| (it.key.clone(), it.meta.0.clone())).collect(),
            ignored: world
                .namespaces()
                .values()
                .map(|it| (it.name.clone(), it.ignored_lints.0.clone()))
                .collect(),
        }
    }

    /// Adds something at random to each object of a change.
    fn add_to(&mut self, change: &mut Change, dice: &mut Dice) {
        /// The objects that an edit brings; those that it takes away are forgotten.
        fn objects<T: Object, V>(
            edit: &mut Edit<T>,
            told: &mut BTreeMap<T::Key, V>,
            mut add: impl FnMut(&mut T) -> V,
        ) {
            let objects = match edit {
                Edit::Upsert(object) => std::slice::from_mut(object),
                Edit::Replace(objects) => {
                    told.clear();
                    objects
                }
                Edit::Delete(key) => {
                    told.remove(key);
                    &mut []
                }
            };
            for object in objects {
                let value = add(object);
                told.insert(object.key().clone(), value);
            }
        }
        let Self { owners, metas, ignored } = self;
        match change {
            Change::Pod(edit) => objects(edit, owners, |pod| {
                pod.owner = Untranslated(owner(dice));
                pod.owner.0.clone()
            }),
            Change::Policy(edit) => objects(edit, metas, |policy| {
                policy.meta = Untranslated(PolicyMeta {
                    uid: None,
                    resource_version: Some(dice.roll(100).to_string().into()),
                    ignored_lints: ["FLK010".parse().unwrap()]
                        .into_iter()
                        .filter(|_| dice.roll(2) == 0)
                        .collect(),
                    unused_rules: None,
                });
                policy.meta.0.clone()
            }),
            Change::Namespace(edit) => objects(edit, ignored, |namespace| {
                let codes = ["FLK001", "FLK020"].map(|code| code.parse().unwrap());
                namespace.ignored_lints =
                    Untranslated(codes.into_iter().filter(|_| dice.roll(2) == 0).collect());
                namespace.ignored_lints.0.clone()
            }),
            _ => {}
        }
    }
}

fn owner(dice: &mut Dice) -> Owner {
    let kind = WorkloadKind::ALL[dice.roll(6)];
    let workload = Workload { kind, name: ObjectName::new(&format!("w{}", dice.roll(3))).unwrap() };
    [Owner::Nobody, Owner::Workload(workload.clone().into()), Owner::StandsFor(workload.into())]
        .into_iter()
        .nth(dice.roll(3))
        .unwrap()
}

/// The objects of the world again, as a change that brings one of them or lists a kind.
fn again(translator: &Translator, dice: &mut Dice) -> Option<Change> {
    let world = translator.world();
    fn pick<T: Clone + Object>(all: Vec<T>, dice: &mut Dice) -> Option<Edit<T>> {
        if dice.roll(4) == 0 {
            return Some(Edit::Replace(all));
        }
        all.get(dice.roll(all.len().max(1))).cloned().map(Edit::Upsert)
    }
    match dice.roll(3) {
        0 => pick(world.pods().values().map(|it| (**it).clone()).collect(), dice).map(Change::Pod),
        1 => pick(world.policies().values().map(|it| (**it).clone()).collect(), dice).map(Change::Policy),
        _ => {
            pick(world.namespaces().values().map(|it| (**it).clone()).collect(), dice).map(Change::Namespace)
        }
    }
}

fn check(clusters: &[Cluster], mut dice: Dice) {
    let (mut plain, mut translator, mut told) = (Translator::new(), Translator::new(), Told::default());
    let mut walk = Walk::new(clusters);
    let mut repeated = 0;
    for _ in 0..60 {
        for change in walk.changes(&mut dice) {
            let mut with_more = change.clone();
            told.add_to(&mut with_more, &mut dice);
            assert_eq!(translator.apply(with_more), plain.apply(change));
            if let Some(mut change) = again(&translator, &mut dice) {
                told.add_to(&mut change, &mut dice);
                assert!(!translator.apply(change), "it makes no difference");
                repeated += 1;
            }
        }
        let (found, expected) = (translator.pass(), plain.pass());
        assert_eq!(found.work, expected.work);
        let revisions = |pass: &Pass| {
            pass.changes.iter().map(|change| change.after.revision().clone()).collect::<Vec<_>>()
        };
        assert_eq!(revisions(&found), revisions(&expected));
        assert_eq!(translator.problems(), plain.problems());
        assert_eq!(Told::of(&translator), told);
        if let Some(mut change) = again(&translator, &mut dice) {
            told.add_to(&mut change, &mut dice);
            translator.apply(change);
            let pass = translator.pass();
            assert_eq!((pass.work, pass.changes.len(), pass.problems), Default::default());
        }
    }
    assert!(repeated > 30, "{repeated}");
}

proptest! {
    #![proptest_config(support::config(8))]

    #[test]
    fn what_no_rule_depends_on_makes_no_difference(clusters in vec(generator::cluster(), 2), seed: u64) {
        check(&clusters, Dice(seed));
    }
}

#[test]
fn pods_of_one_workload_share_what_names_it() {
    let api = || Workload { kind: WorkloadKind::Deployment, name: ObjectName::new("api").unwrap() };
    let pod = |name: &str| Pod {
        owner: Untranslated(Owner::Workload(api().into())),
        ..Pod::new(PodKey::new("shop", name).unwrap())
    };
    let mut translator = Translator::new();
    translator.apply(Change::Pod(Edit::Replace(vec![pod("api-1"), pod("api-2")])));
    translator.apply(Change::Pod(Edit::Upsert(pod("api-3"))));
    let owners: Vec<_> = translator.world().pods().values().filter_map(|pod| pod.workload()).collect();
    assert!(owners.len() == 3 && owners.iter().all(|owner| Arc::ptr_eq(owner, owners[0])));
}
