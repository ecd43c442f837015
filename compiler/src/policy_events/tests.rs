use std::collections::BTreeSet;

use flock_compiler_core::{Change, Edit, World};
use flock_convert::{ClusterObject, Converted, Converter, HostInterfaces};
use flock_shared::PodKey;
use serde_json::{Value, json};

use super::notice::{Reason, Weight};
use super::*;

const SETTLED: Duration = Duration::from_secs(60);

fn change(world: &mut World, object: &Value) {
    let converter = Converter::new("test", HostInterfaces::None);
    let Ok(Converted::Object(object)) = converter.object(object) else { panic!("{object}") };
    let change = match object {
        ClusterObject::Policy(policy) => Change::Policy(Edit::Upsert(policy)),
        ClusterObject::Pod(pod) => Change::Pod(Edit::Upsert(pod)),
        ClusterObject::Namespace(namespace) => Change::Namespace(Edit::Upsert(namespace)),
        other => panic!("{other:?}"),
    };
    world.apply(change);
}

fn policy(namespace: &str, name: &str, version: u32, app: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "namespace": namespace, "name": name, "uid": format!("u-{name}"), "resourceVersion": version.to_string() },
        "spec": { "podSelector": { "matchLabels": { "app": app } } },
    })
}

fn pod(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": "shop", "name": name, "labels": { "app": app } },
        "spec": { "nodeName": "n1" }, "status": { "phase": "Running", "podIP": "10.0.0.1" },
    })
}

/// A record at a cluster, by a clock of its own.
struct Case {
    world: World,
    record: NoticeRecord,
    now: Instant,
    coverage: Coverage,
}

impl Case {
    fn of(objects: &[Value]) -> Self {
        let mut world = World::default();
        objects.iter().for_each(|object| change(&mut world, object));
        let coverage = Coverage { nodes: 1, asked: 1, enforced: 0 };
        Self { world, record: NoticeRecord::new(SETTLED), now: Instant::now(), coverage }
    }

    /// What is told so many seconds later, when all of it was changed since the beginning, or none.
    fn after(&mut self, seconds: u64, is_old: bool) -> Vec<Notice> {
        self.now += Duration::from_secs(seconds);
        self.record.look(&self.world, &Scope::Everything, |_| is_old, self.now);
        let coverage = self.coverage;
        let due = self.record.due(self.now, true, &mut |_| coverage);
        let mut told = Vec::new();
        for notice in due {
            if self.record.admit(&notice, self.now) {
                self.record.spend(&notice, self.now);
                self.record.told(&notice);
                told.push(notice);
            }
        }
        told
    }

    fn reasons(&mut self, seconds: u64) -> Vec<Reason> {
        self.after(seconds, false).iter().map(|notice| notice.reason).collect()
    }
}

#[test]
fn what_selects_nothing_is_told_once_it_has_been_so_for_a_minute() {
    let mut case = Case::of(&[policy("shop", "p", 1, "wep"), pod("web", "web")]);
    assert_eq!([0, 59].map(|seconds| case.reasons(seconds)), [vec![], vec![]]);
    assert_eq!(case.reasons(1), [Reason::SelectsNothing]);
    assert_eq!(case.reasons(600), []);
    assert!(case.record.is_quiet());
    // In between there was one.
    change(&mut case.world, &pod("wep", "wep"));
    assert_eq!(case.reasons(1), []);
    case.world.apply(Change::Pod(Edit::Delete(PodKey::new("shop", "wep").unwrap())));
    assert_eq!([1, 59].map(|seconds| case.reasons(seconds)), [vec![], vec![]]);
    assert_eq!(case.reasons(1), [Reason::SelectsNothing]);
}

#[test]
fn what_its_author_or_namespace_has_silenced_is_not_told() {
    let ignore = json!({ "flock.netpol/ignore": "FLK001" });
    let mut silent = policy("shop", "p", 1, "wep");
    silent["metadata"]["annotations"] = ignore.clone();
    let mut case = Case::of(&[silent]);
    assert_eq!([0, 100].map(|seconds| case.reasons(seconds)), [vec![], vec![]]);
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop", "annotations": ignore } });
    let mut case = Case::of(&[policy("shop", "p", 1, "wep"), namespace]);
    assert_eq!([0, 100].map(|seconds| case.reasons(seconds)), [vec![], vec![]]);
}

#[test]
fn that_it_is_in_force_is_told_once_a_version_and_not_of_what_was_there_before() {
    let objects = [policy("shop", "p", 1, "web"), pod("web", "web")];
    let mut case = Case::of(&objects);
    assert_eq!(case.reasons(0), []);
    case.coverage.enforced = 1;
    assert_eq!(case.reasons(1), [Reason::Enforced]);
    assert_eq!(case.reasons(1), []);
    // Annotated, it is the same policy.
    change(&mut case.world, &policy("shop", "p", 2, "web"));
    assert_eq!(case.reasons(1), []);
    change(&mut case.world, &pod("api", "api"));
    change(&mut case.world, &policy("shop", "p", 3, "api"));
    let told = case.after(1, false);
    assert_eq!(told.len(), 1);
    let event = told[0].event("i");
    assert_eq!(event.regarding.unwrap().resource_version.as_deref(), Some("3"));
    case.world.apply(Change::Policy(Edit::Delete(PolicyKey::new("shop", "p").unwrap())));
    assert_eq!(case.reasons(1), []);
    assert_eq!(case.record.sizes()[..2], [0, 0]);

    let mut case = Case::of(&objects);
    case.coverage.enforced = 1;
    assert_eq!(case.after(0, true), []);
    assert!(case.record.is_quiet());
    change(&mut case.world, &pod("api", "api"));
    change(&mut case.world, &policy("shop", "p", 2, "api"));
    assert_eq!(case.reasons(1), [Reason::Enforced]);
}

#[test]
fn a_part_is_in_force_where_other_replicas_tell_of_the_rest() {
    let case = |coverage, is_alone| {
        let mut case = Case::of(&[policy("shop", "p", 1, "web"), pod("web", "web")]);
        case.record.look(&case.world, &Scope::Everything, |_| false, case.now);
        case.record.due(case.now, is_alone, &mut |_| coverage).pop()
    };
    let part = Coverage { nodes: 3, asked: 2, enforced: 2 };
    assert_eq!(case(part, true), None);
    let names = ["a", "b"].map(|instance| case(part, false).unwrap().event(instance).metadata.name);
    assert_ne!(names[0], names[1], "each replica has its own");
    assert_eq!(case(Coverage { asked: 0, enforced: 0, ..part }, false), None);
    assert_eq!(case(Coverage { enforced: 1, ..part }, false), None);
    let whole = Coverage { nodes: 3, asked: 3, enforced: 3 };
    let names = [true, false].map(|is_alone| case(whole, is_alone).unwrap().event("a").metadata.name);
    assert_eq!(names[0], names[1]);
}

#[test]
fn one_policy_that_changes_and_one_namespace_of_many_have_their_limits() {
    let mut case = Case::of(&[pod("web", "web")]);
    case.coverage.enforced = 1;
    let mut told = 0;
    for version in 0..100 {
        let mut changing = policy("shop", "p", version, "web");
        changing["spec"]["ingress"] = json!([{ "ports": [{ "port": version + 1 }] }]);
        change(&mut case.world, &changing);
        told += case.after(1, false).len();
    }
    // What is left over of one second counts as all of it.
    assert!((5..=6).contains(&told), "{told}");
    assert_eq!(case.after(1, false), [], "what is too often is left out for good");

    let many: Vec<Value> =
        (0..1000).map(|number| policy("hostile", &format!("p{number}"), 1, "web")).collect();
    let mut case = Case::of(&many);
    assert_eq!(case.reasons(0), []);
    case.now += SETTLED;
    let told: Vec<usize> = (0..20).map(|_| case.after(0, false).len()).collect();
    assert!((25..=26).contains(&told.iter().sum::<usize>()), "{told:?}");
    assert!(case.record.is_quiet(), "nothing waits");
    assert_eq!(case.record.sizes(), [1000, 0, 1]);
}

#[test]
fn an_event_is_what_an_api_server_takes_whatever_a_tenant_has_chosen() {
    let mut world = World::default();
    let name = format!("{}.{}", "a".repeat(229), "b".repeat(20));
    let mut hostile = policy("shop", &name, 1, "web");
    hostile["spec"]["egress"] = json!([{ ("x\u{202e}\n".to_owned() + &"ä".repeat(3000)): 1 }]);
    change(&mut world, &hostile);
    let policy = world.policies().values().next().unwrap();
    let fault = &policy.faults()[0];
    let note = format!("{}: {}{}", fault.field, fault.message, "ä\u{202e}\n".repeat(2000));
    let notice = Notice::new(policy, Reason::NotUnderstood, Weight::Warning, &note);
    let event = notice.event("i");
    let note = event.note.unwrap();
    assert!(note.len() <= 1024 && note.ends_with('…'), "{note}");
    assert!(!note.contains(['\n', '\u{202e}']), "{note}");
    let name = event.metadata.name.unwrap();
    let (start, hash) = name.split_at(229);
    assert!(start.bytes().all(|byte| byte == b'a') && hash.len() == 17 && hash.starts_with('.'), "{name}");
}

#[test]
fn only_what_was_touched_is_looked_at() {
    let mut case = Case::of(&[policy("shop", "p", 1, "wep"), policy("bank", "q", 1, "wep")]);
    let bank: BTreeSet<_> = ["bank".parse().unwrap()].into();
    case.record.look(&case.world, &Scope::Namespaces(bank), |_| false, case.now);
    assert_eq!(case.record.sizes()[0], 1);
}
