//! What tenants choose: names, labels, and how many of them there are.

use flock_ask::{Cluster, Sight, lint};
use flock_compiler_core::object::{Pod, PortMatch, PortName};
use flock_compiler_core::port::Protocol;
use flock_compiler_core::{Change, Edit, Labels, UnreadyPods, World};
use flock_proto::v1::{Finding, LintRequest};
use flock_shapes::parts;
use flock_shared::ObjectKey;

fn found(world: &World) -> Vec<Finding> {
    lint(&Cluster::new(world, UnreadyPods::Expected), &LintRequest::default(), &Sight::Everything).unwrap()
}

fn world(pods: Vec<Pod>, policies: Vec<flock_compiler_core::object::Policy>) -> World {
    let mut world = World::default();
    world.apply(Change::Pod(Edit::Replace(pods)));
    world.apply(Change::Policy(Edit::Replace(policies)));
    world
}

#[test]
fn what_tenants_choose_is_on_one_line_and_short() {
    let odd = "a\n\u{1b}[31m\u{202e}".repeat(10_000);
    let mut pod = Pod::new(ObjectKey::new("shop", "api").unwrap());
    pod.labels = [("app", &*odd), (&*odd, "x"), ("app2", "y")].into_iter().collect::<Labels>();
    pod.ports = [parts::named_port(&PortName::new(&odd), 80)].into();
    let namespace = parts::namespace_name("shop");
    let label = |key: &str, value: &str| parts::labelled([&(key.into(), value.into())]);
    let wrong = [label("app", "api"), label(&odd, &odd), label("other", "x")];
    let peers = wrong.iter().map(|selector| parts::pods_of(&namespace, selector.clone()));
    let named = [PortMatch::Named { protocol: Protocol::Tcp, name: PortName::new(&format!("{odd}x")) }];
    let rules = vec![parts::rule(peers.collect::<Vec<_>>(), []), parts::rule([], named)];
    let mut policies: Vec<_> = wrong
        .iter()
        .enumerate()
        .map(|(index, selector)| {
            let name = parts::object_name(&format!("p{index}"));
            parts::policy(&namespace, &name, selector.clone(), None, None)
        })
        .collect();
    let all = parts::object_name("all");
    policies.push(parts::policy(&namespace, &all, label("app2", "y"), Some(rules), None));
    let findings = found(&world(vec![pod], policies));
    for code in ["FLK001", "FLK002", "FLK003"] {
        assert!(findings.iter().any(|finding| finding.code == code), "{code}");
    }
    for Finding { message, suggestion, field, object, .. } in findings {
        let told = [message, suggestion, field, object].concat();
        assert!(told.len() < 3_000, "{} bytes", told.len());
        assert!(!told.chars().any(|c| c.is_control() || c == '\u{202e}'), "{told}");
    }
}

#[test]
fn of_a_namespace_with_many_mistakes_some_are_told_and_how_many_more_there_are() {
    let namespace = parts::namespace_name("shop");
    let policies: Vec<_> = (0..1_000)
        .map(|index| {
            let selector = parts::labelled([&("app".into(), format!("a{index}").into())]);
            parts::policy(&namespace, &parts::object_name(&format!("p{index}")), selector, None, None)
        })
        .collect();
    let findings = found(&world(vec![Pod::new(ObjectKey::new("shop", "api").unwrap())], policies));
    let idle: Vec<&Finding> = findings.iter().filter(|finding| finding.code == "FLK001").collect();
    assert_eq!(idle.len(), 101);
    assert!(idle.iter().any(|it| it.object == "Namespace shop" && it.message.starts_with("900 more")));
}

#[test]
fn a_namespace_that_costs_too_much_is_told_and_does_not_keep_others_from_being_looked_at() {
    let shop = parts::namespace_name("a");
    let label = |index: usize| parts::labelled([&("app".into(), format!("a{index}").into())]);
    // Each rule is held against each other one, and none is within another.
    let mut policies: Vec<_> = (0..3_000)
        .map(|index| {
            let rule = parts::rule([parts::pods_of(&shop, label(index))], [parts::tcp(80)]);
            let name = parts::object_name(&format!("p{index}"));
            parts::policy(&shop, &name, flock_compiler_core::Selector::everything(), Some(vec![rule]), None)
        })
        .collect();
    let other = parts::namespace_name("b");
    policies.push(parts::policy(&other, &parts::object_name("typo"), label(1), Some(Vec::new()), None));
    let pods = ["a", "b"].map(|namespace| Pod::new(ObjectKey::new(namespace, "api").unwrap()));
    let findings = found(&world(pods.to_vec(), policies));
    let told = |namespace: &str, code: &str| {
        findings.iter().any(|finding| finding.namespace == namespace && finding.code == code)
    };
    assert!(told("a", "FLK030"), "that some may be missing");
    assert!(told("b", "FLK001"));
    assert!(!told("b", "FLK030"));
}
