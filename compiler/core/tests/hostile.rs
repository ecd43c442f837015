//! A tenant may write any policies in its own namespace: over a namespace's budget its pods are isolated and it is
//! reported, and what others get is the same to the byte, for the same work.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "support/objects.rs"]
mod objects;

use std::sync::Arc;

use flock_compiler_core::object::{
    Fault, IpBlock, Namespace, Peer, Pod, PodNetwork, Policy, PolicyBody, Rule, Types,
};
use flock_compiler_core::output::Isolation;
use flock_compiler_core::translate::{Budgets, Load};
use flock_compiler_core::{
    Change, Consequence, Edit, Labels, Operator, Options, Problem, Selector, Translator, render,
};
use flock_shared::NamespaceName;

use objects::{
    ingress, is, is_not, node_name, pod_key, pods_anywhere, pods_in, policy_key, requirement, tcp,
};

fn pod(namespace: &str, number: u32, node: &str) -> Pod {
    let net = if namespace == "hostile" { 0x0a00_0000 } else { 0x0b00_0000 };
    let labels = [("app".to_owned(), format!("app-{number}")), ("team".to_owned(), namespace.to_owned())];
    Pod {
        node: Some(node_name(node)),
        labels: labels.into_iter().collect(),
        network: PodNetwork::own([std::net::Ipv4Addr::from(net + number).into()].into(), None),
        ..Pod::new(pod_key(namespace, &format!("pod-{number}")))
    }
}

fn app(number: u32) -> Selector {
    is("app", &format!("app-{number}"))
}

fn not_app(number: u32) -> Selector {
    is_not("app", &format!("app-{number}"))
}

fn policy(namespace: &str, number: u32, pod_selector: Selector, rules: Vec<Rule>) -> Policy {
    Policy { pod_selector, ..ingress(namespace, &format!("policy-{number}"), rules) }
}

fn rule(peers: Vec<Peer>, ports: impl IntoIterator<Item = (u16, u16)>) -> Rule {
    objects::rule(peers, ports.into_iter().map(|(first, last)| tcp(first, last)))
}

/// One of four billion blocks.
fn block(number: u32) -> Peer {
    let address = std::net::Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(number) << 32);
    objects::block(&format!("{address}/96"))
}

/// A few apps with a policy each, on a node of their own.
fn decent() -> (Vec<Pod>, Vec<Policy>) {
    let open = |number| {
        policy("decent", number, app(number), vec![rule(vec![pods_in("decent", app(0))], [(80, 80)])])
    };
    ((0..10).map(|number| pod("decent", number, "decent")).collect(), (0..10).map(open).collect())
}

/// Decent tenants, and hostile ones with so many pods and these policies.
fn translator(pods: u32, policies: Vec<Policy>) -> Translator {
    translator_within(Budgets::default(), pods, policies)
}

fn translator_within(budgets: Budgets, pods: u32, policies: Vec<Policy>) -> Translator {
    let (mut all_pods, mut all_policies) = decent();
    all_pods.extend((0..pods).map(|number| pod("hostile", number, "shared")));
    all_policies.extend(policies);
    let namespaces = ["decent", "hostile"].map(|name| {
        let labels = Labels::from_iter([("kubernetes.io/metadata.name", name)]);
        Namespace::new(NamespaceName::new(name).unwrap(), labels)
    });
    let mut translator = Translator::with(Options { budgets, ..Options::default() });
    translator.apply(Change::Namespace(Edit::Replace(namespaces.to_vec())));
    translator.apply(Change::Pod(Edit::Replace(all_pods)));
    translator.apply(Change::Policy(Edit::Replace(all_policies)));
    translator.pass();
    translator
}

fn script(translator: &Translator, node: &str) -> Vec<u8> {
    render(&translator.output(&node_name(node)).unwrap()).bytes().to_vec()
}

/// All of the hostile tenant's pods are closed, which is all that is reported; a decent tenant has the same script
/// as without it, and its events cost the same.
fn isolated(pods: u32, policies: Vec<Policy>, expected: &str) {
    let mut calm = translator(pods, Vec::new());
    let mut translator = translator(pods, policies);
    let shared = translator.output(&node_name("shared")).unwrap();
    assert_eq!(shared.node_rules().isolated.values().count(), pods as usize);
    assert!(shared.node_rules().isolated.values().all(|subject| subject.ingress == Isolation::Closed));
    assert!(script(&translator, "shared").len() < 100 * pods as usize + 10_000);
    let [problem] = &*translator.problems() else { panic!("{:?}", translator.problems()) };
    assert_eq!(problem.consequence, Consequence::NamespaceIsolated);
    assert!(problem.to_string().starts_with(&format!("Namespace hostile: {expected}")), "{problem}");
    assert_eq!(script(&translator, "decent"), script(&calm, "decent"));
    let event = |translator: &mut Translator| {
        translator.apply(Change::Pod(Edit::Upsert(pod("decent", 10, "decent"))));
        let pass = translator.pass();
        assert!(!pass.problems || pass.work.pods > 0);
        pass.work
    };
    assert_eq!(event(&mut translator), event(&mut calm));
    assert_eq!(script(&translator, "decent"), script(&calm, "decent"));
    // Once its policies are gone, so is what they brought about.
    let (_, decent) = decent();
    translator.apply(Change::Policy(Edit::Replace(decent)));
    translator.pass();
    assert_eq!(translator.problems(), []);
    assert_eq!(script(&translator, "shared"), script(&calm, "shared"));
}

#[test]
fn subjects_that_every_pod_is_tried_against() {
    let odd = |number| requirement(&format!("key-{number}"), Operator::DoesNotExist);
    let policies = (0..20_000).map(|number| policy("hostile", number, odd(number), Vec::new()));
    isolated(4_000, policies.collect(), "its NetworkPolicies come to 80000000 attempts to match");
}

/// Says that pods of the namespace with one value of a label are peers, on a port.
fn from_app(number: u32, pod_selector: Selector) -> Policy {
    policy("hostile", number, pod_selector, vec![rule(vec![pods_in("hostile", app(number))], [(80, 80)])])
}

#[test]
fn what_would_be_over_budget_is_not_tried_and_neither_is_what_comes_after_it() {
    let policies = (0..3_000).map(|number| from_app(number, not_app(number)));
    let mut translator = translator(3_000, Vec::new());
    let (_, mut all) = decent();
    all.extend(policies);
    translator.apply(Change::Policy(Edit::Replace(all)));
    let work = translator.pass().work;
    assert_eq!((work.pods, work.tries, work.groups), (3_000, 0, 1), "{work:?}");
    for number in 0..3 {
        let next = from_app(3_000 + number, not_app(3_000 + number));
        translator.apply(Change::Policy(Edit::Upsert(next)));
        let work = translator.pass().work;
        assert_eq!((work.pods, work.tries, work.groups), (0, 0, 0), "{work:?}");
    }
    translator.apply(Change::Pod(Edit::Upsert(pod("hostile", 3_000, "shared"))));
    let work = translator.pass().work;
    assert_eq!((work.pods, work.tries), (1, 0), "{work:?}");
    let [problem] = &*translator.problems() else { panic!("{:?}", translator.problems()) };
    let expected = "its NetworkPolicies come to 9012003 attempts to match";
    assert!(problem.message.starts_with(expected), "{problem}");
}

#[test]
fn a_namespace_that_grows_over_its_budget_never_has_more_tried_than_that() {
    let budgets = Budgets { tries: 3_000, ..Budgets::default() };
    let mut translator = translator_within(budgets, 100, Vec::new());
    let mut most = 0;
    for number in 0..100 {
        translator.apply(Change::Policy(Edit::Upsert(from_app(number, not_app(number)))));
        most = most.max(translator.pass().work.tries);
    }
    assert!((2_900..=3_000).contains(&most), "{most}");
    assert!(translator.problems()[0].message.starts_with("its NetworkPolicies come to 10000 attempts"));
    for number in 30..100 {
        let key = policy_key("hostile", &format!("policy-{number}"));
        translator.apply(Change::Policy(Edit::Delete(key)));
        most = most.max(translator.pass().work.tries);
    }
    assert_eq!(most, 3_000, "all pods are tried when it is back within its budget");
    assert_eq!(translator.problems(), []);
}

/// Says that pods of the namespace without one value of a label are peers of one pod, on a port.
fn from_not_app(number: u32) -> Policy {
    policy("hostile", number, app(0), vec![rule(vec![pods_in("hostile", not_app(number))], [(80, 80)])])
}

#[test]
fn peers_that_every_pod_is_tried_against() {
    isolated(
        3_000,
        (0..3_000).map(from_not_app).collect(),
        "its NetworkPolicies come to 9000000 attempts to match a pod with a peer",
    );
}

#[test]
fn peers_over_budget_come_back_and_what_is_named_twice_counts_once() {
    let budgets = Budgets { tries: 3_000, ..Budgets::default() };
    let mut translator = translator_within(budgets, 100, Vec::new());
    let mut wanted = |policies: std::ops::Range<u32>, come: bool| {
        for number in policies {
            // Two policies name each peer.
            for (place, pod_selector) in [(number, app(0)), (1_000 + number, app(1))] {
                let key = policy_key("hostile", &format!("policy-{place}"));
                let policy = Policy { key: key.clone(), pod_selector, ..from_not_app(number) };
                let edit = if come { Edit::Upsert(policy) } else { Edit::Delete(key) };
                translator.apply(Change::Policy(edit));
            }
        }
        translator.pass();
        translator.problems().first().map(|problem| problem.message.clone())
    };
    assert_eq!(wanted(0..30, true), None);
    let told = wanted(30..40, true).unwrap();
    assert!(
        told.starts_with("its NetworkPolicies come to 4000 attempts to match a pod with a peer"),
        "{told}"
    );
    assert_eq!(wanted(30..40, false), None);
}

#[test]
fn ten_thousand_policies_that_select_one_pod_by_a_label_are_no_business_of_the_others() {
    let mut translator = translator(10_000, Vec::new());
    let (_, mut all) = decent();
    all.extend((0..10_000).map(|number| from_app(number, app(0))));
    translator.apply(Change::Policy(Edit::Replace(all)));
    let work = translator.pass().work;
    // The decent tenant's policies stay as they are.
    assert_eq!((work.pods, work.tries, work.groups), (1, 10_000, 1), "{work:?}");
    assert_eq!(translator.problems(), []);
    let shared = translator.output(&node_name("shared")).unwrap();
    let selected = pod("hostile", 0, "shared").addresses().unwrap()[0];
    assert!(matches!(shared.node_rules().isolated[&selected].ingress, Isolation::Rules(_)));
    // Nor are they where two labels are asked for.
    let both = |number: u32| {
        let team = is("team", "hostile");
        let both = [app(number), team]
            .iter()
            .flat_map(|it| it.requirements().cloned().collect::<Vec<_>>())
            .collect();
        from_app(number, both)
    };
    let (_, mut all) = decent();
    all.extend((0..500).map(both));
    translator.apply(Change::Policy(Edit::Replace(all)));
    assert_eq!(translator.pass().work.tries, 500);
    assert_eq!(translator.problems(), []);
}

#[test]
fn rules_of_its_own_for_each_pod() {
    let own = |number: u32| {
        let peers = (0..150).map(|peer| block(number * 1_000 + peer * 2)).collect();
        policy("hostile", number, app(number), vec![rule(peers, [(80, 80)])])
    };
    isolated(2_000, (0..2_000).map(own).collect(), "its NetworkPolicies come to 604000 peers");
}

#[test]
fn ten_thousand_rules_with_peers_and_ports_of_their_own_in_each_of_a_few_policies() {
    let rules = |first: u32| -> Vec<Rule> {
        let one = |number: u32| rule(vec![block(2 * (first + number))], [(number as u16, number as u16)]);
        (0..10_000).map(one).collect()
    };
    let policies = (0..10).map(|number| policy("hostile", number, app(number), rules(number * 10_000)));
    isolated(10, policies.collect(), "its NetworkPolicies come to 400000 peers");
}

#[test]
fn nested_ranges_just_below_what_one_group_may_come_to() {
    let nested = |number: u32| -> Vec<Rule> {
        let one = |n: u32| rule(vec![block(2 * (number * 1_000 + n))], [(n as u16, 60_000 - n as u16)]);
        (0..200).map(one).collect()
    };
    let policies = (0..50).map(|number| policy("hostile", number, app(number), nested(number)));
    isolated(50, policies.collect(), "its NetworkPolicies come to 2029950 selectors and ranges");
}

#[test]
fn peers_in_other_namespaces_that_every_pod_of_the_cluster_is_tried_against() {
    let wide = |number: u32| {
        let pods = requirement(&format!("key-{number}"), Operator::DoesNotExist);
        rule(vec![pods_anywhere(pods)], [(80, 80)])
    };
    let all = policy("hostile", 0, Selector::everything(), (0..5_000).map(wide).collect());
    isolated(10, vec![all], "its NetworkPolicies come to 330000 peers");
}

#[test]
fn a_block_with_more_exceptions_than_a_namespace_may_have_ranges() {
    let with_holes = |number: u32| {
        let holes: Vec<_> =
            (0..1 << 14).map(|hole: u32| format!("fd00:{hole:x}::/32").parse().unwrap()).collect();
        let holes: Vec<_> = holes.into_iter().step_by(2).collect();
        let block = Peer::Block(IpBlock::new("fd00::/16".parse().unwrap(), &holes).unwrap());
        let port = u16::try_from(number).unwrap();
        policy("hostile", number, app(number), vec![rule(vec![block], [(port, port)])])
    };
    isolated(40, (0..40).map(with_holes).collect(), "its NetworkPolicies come to");
}

#[test]
fn unions_that_each_hold_all_pods_of_the_cluster() {
    let all = || pods_anywhere(Selector::everything());
    let own = |number| {
        let peers = vec![all(), pods_in("hostile", app(number))];
        policy("hostile", number, app(number), vec![rule(peers, [(80, 80)])])
    };
    isolated(2_500, (0..2_500).map(own).collect(), "its NetworkPolicies come to 6275000 addresses of pods");
}

#[test]
fn a_node_whose_script_would_be_too_large_is_without_the_namespace_that_asks_for_most() {
    let all = || pods_anywhere(Selector::everything());
    let greedy = policy("hostile", 0, Selector::everything(), vec![rule(vec![all()], [(80, 80)])]);
    let most = Budgets::default().node;
    let budgets = Budgets { node: Load { elements: 500, ..most }, ..Budgets::default() };
    let mut translator = translator_within(budgets, 1_000, vec![greedy.clone()]);
    let output = |translator: &Translator| translator.output(&node_name("shared")).unwrap();
    assert!(output(&translator).node_rules().isolated.values().all(|it| it.ingress == Isolation::Closed));
    let [problem] = &*translator.problems() else { panic!("{:?}", translator.problems()) };
    assert_eq!(problem.object, "Namespace hostile");
    assert!(problem.message.contains("more than 500 elements of sets"), "{problem}");
    assert!(problem.message.contains("on shared, where it is closed"), "{problem}");

    // A decent tenant's pod on the same node has its rules.
    translator.apply(Change::Pod(Edit::Upsert(pod("decent", 1, "shared"))));
    translator.pass();
    let address = pod("decent", 1, "shared").addresses().unwrap()[0];
    let ingress =
        |translator: &Translator| output(translator).node_rules().isolated[&address].ingress.clone();
    assert!(matches!(ingress(&translator), Isolation::Rules(_)));

    translator.apply(Change::Policy(Edit::Delete(greedy.key)));
    assert!(translator.pass().problems);
    assert_eq!(translator.problems(), []);
    assert!(matches!(ingress(&translator), Isolation::Rules(_)));
}

#[test]
fn a_script_is_not_too_large_by_what_an_owner_of_an_address_elsewhere_looks_up() {
    let all = || pods_anywhere(Selector::everything());
    let greedy = policy("hostile", 0, Selector::everything(), vec![rule(vec![all()], [(80, 80)])]);
    let decent = policy("decent", 0, Selector::everything(), vec![rule(vec![block(0)], [(80, 80)])]);
    let most = Budgets::default().node;
    let budgets = Budgets { node: Load { elements: 500, ..most }, ..Budgets::default() };
    let shared = node_name("shared");
    let translated = |policies: &[&Policy]| {
        let mut translator = Translator::with(Options { budgets, ..Options::default() });
        let namespaces = ["claims", "decent", "hostile"]
            .map(|name| Namespace::new(NamespaceName::new(name).unwrap(), Labels::default()));
        translator.apply(Change::Namespace(Edit::Replace(namespaces.to_vec())));
        let elsewhere = (0..1_000).map(|number| pod("hostile", number, "elsewhere"));
        let contested = Pod { network: pod("hostile", 0, "shared").network, ..pod("claims", 0, "shared") };
        let pods = elsewhere.chain([contested, pod("decent", 1, "shared")]);
        pods.for_each(|pod| _ = translator.apply(Change::Pod(Edit::Upsert(pod))));
        for policy in policies {
            translator.apply(Change::Policy(Edit::Upsert((*policy).clone())));
            translator.pass();
        }
        translator.output(&shared).unwrap()
    };
    let (one_by_one, at_once) = (translated(&[&greedy, &decent]), translated(&[&decent, &greedy]));
    assert_eq!(one_by_one.revision(), at_once.revision());
    assert!(one_by_one.sets().is_empty(), "the namespace of an owner elsewhere is closed here");
    let decent = pod("decent", 1, "shared").addresses().unwrap()[0];
    assert!(matches!(one_by_one.node_rules().isolated[&decent].ingress, Isolation::Rules(_)));
}

#[test]
fn a_hundred_thousand_policies_that_say_the_same_come_to_one() {
    let same =
        |number| policy("hostile", number, Selector::everything(), vec![rule(vec![block(0)], [(80, 80)])]);
    let translator = translator(1_000, (0..100_000).map(same).collect());
    assert_eq!(translator.problems(), []);
    let shared = translator.output(&node_name("shared")).unwrap();
    assert_eq!(shared.node_rules().rule_sets().len(), 1);
}

#[test]
fn a_hundred_thousand_policies_that_each_select_by_another_value_are_found_by_it() {
    let own =
        |number| policy("hostile", number, app(number), vec![rule(vec![block(2 * number)], [(80, 80)])]);
    // Each pod's rules take two of the sets that a node bears.
    let translator = translator(700, (0..100_000).map(own).collect());
    assert_eq!(translator.problems(), []);
    let shared = translator.output(&node_name("shared")).unwrap();
    assert_eq!(shared.node_rules().rule_sets().len(), 700);
}

#[test]
fn problems_of_one_namespace_do_not_fill_the_list() {
    let origin: Arc<str> = "kubernetes".into();
    let odd = |number| Policy {
        body: PolicyBody::NotUnderstood {
            types: Types::Both,
            faults: vec![Fault {
                origin: Arc::clone(&origin),
                field: "spec".to_owned(),
                message: "is odd".to_owned(),
            }],
        },
        ..policy("hostile", number, Selector::everything(), Vec::new())
    };
    let translator = translator(1, (0..10_000).map(odd).collect());
    let problems: Vec<Problem> = translator.problems();
    assert_eq!(problems.len(), 101);
    let more = problems.iter().find(|problem| problem.consequence == Consequence::NotListed).unwrap();
    assert_eq!(more.object, "Namespace hostile");
    assert_eq!(more.message, "9900 more problems of its objects are not listed");
}
