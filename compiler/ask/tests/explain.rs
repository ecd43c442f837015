//! `explain` says what ASK's words are: who isolates, what came near and why, to each asker what it may see.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "../../core/tests/support/objects.rs"]
mod objects;

#[path = "explain/sight.rs"]
mod sight;

use flock_ask::{AskError, Cluster, Sight, explain, why_dropped};
use flock_compiler_core::judge::PodsOverBudget;
use flock_compiler_core::object::{
    Direction, Fault, IpBlock, NamedPort, Namespace, Node, Owner, Peer, Pod, PodNetwork, Policy, PolicyBody,
    PortMatch, PortName, Types, Untranslated, Workload, WorkloadKind,
};
use flock_compiler_core::port::Protocol;
use flock_compiler_core::{Change, Edit, Labels, Selector, UnreadyPods, World};
use flock_proto::v1;
use flock_proto::v1::end::End as Asked;
use flock_shared::{NamespaceName, ObjectName};

use objects::{ingress, is, name, node, on_any_port, pod_key, pods_in, policy, policy_key, rule, tcp};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn named(name: &str, number: u16) -> NamedPort {
    NamedPort { name: PortName::new(name), protocol: Protocol::Tcp, number }
}

fn by_name(name: &str) -> PortMatch {
    PortMatch::Named { protocol: Protocol::Tcp, name: PortName::new(name) }
}

fn pod(key: &str, app: &str, node: u8, addresses: &[&str]) -> Pod {
    let (namespace, pod) = key.split_once('/').unwrap();
    Pod { node: Some(name(node)), labels: labels(&[("app", app)]), ..objects::pod(namespace, pod, addresses) }
}

fn selecting(selector: Selector, policy: Policy) -> Policy {
    Policy { pod_selector: selector, ..policy }
}

fn namespace(name: &str) -> Namespace {
    Namespace::new(NamespaceName::new(name).unwrap(), labels(&[("name", name)]))
}

/// `shop`: an api and a database that does not let it in, for a typo and for a port's name; `web`: somebody else.
fn shop() -> World {
    let mut world = World::default();
    let to_database = rule(vec![pods_in("shop", is("app", "database"))], [tcp(5432, 5432)]);
    let rules = vec![
        rule(vec![pods_in("shop", is("app", "apii"))], [tcp(5432, 5432)]),
        rule(vec![pods_in("shop", is("app", "api"))], [by_name("postgres")]),
    ];
    let database = Pod {
        ports: [named("pg", 5432)].into(),
        ..pod("shop/database-0", "database", 2, &["10.244.2.12", "fd00::2:12"])
    };
    let changes = [
        Change::Node(Edit::Replace((1..=3).map(node).collect())),
        Change::Namespace(Edit::Replace(vec![namespace("shop"), namespace("web"), namespace("other")])),
        Change::Pod(Edit::Replace(vec![
            pod("shop/api-5f6b", "api", 1, &["10.244.1.11", "fd00::1:11"]),
            database,
            pod("web/front", "front", 3, &["10.244.3.3"]),
            pod("other/thing", "thing", 3, &["10.244.3.4"]),
        ])),
        Change::Policy(Edit::Replace(vec![
            ingress("shop", "default-deny", Vec::new()),
            selecting(is("app", "database"), ingress("shop", "database", rules)),
            selecting(is("app", "api"), policy("shop", "api", None, Some(vec![to_database]))),
        ])),
    ];
    changes.into_iter().for_each(|change| drop(world.apply(change)));
    world
}

fn with(mut world: World, change: Change) -> World {
    world.apply(change);
    world
}

fn a_pod(key: &str) -> v1::End {
    let (namespace, name) = key.split_once('/').unwrap();
    end(Asked::Pod(v1::PodName { namespace: namespace.into(), name: name.into() }))
}

fn an_address(address: &str) -> v1::End {
    end(Asked::Address(address.into()))
}

fn end(end: Asked) -> v1::End {
    v1::End { end: Some(end) }
}

fn port(number: u32) -> Option<v1::Port> {
    Some(v1::Port { protocol: "TCP".into(), number })
}

fn ask(world: &World, from: v1::End, to: v1::End, number: u32) -> Result<v1::ExplainResponse, AskError> {
    ask_as(&Sight::Everything, world, from, to, number)
}

fn ask_as(
    sight: &Sight,
    world: &World,
    from: v1::End,
    to: v1::End,
    number: u32,
) -> Result<v1::ExplainResponse, AskError> {
    let cluster = Cluster::new(world, UnreadyPods::Allow);
    explain(&cluster, &v1::ExplainRequest { from: Some(from), to: Some(to), port: port(number) }, sight)
}

/// The only explanation of an answer.
fn only(answer: Result<v1::ExplainResponse, AskError>) -> v1::Explanation {
    let mut answer = answer.unwrap();
    assert_eq!(answer.explanations.len(), 1, "{answer:#?}");
    answer.explanations.remove(0)
}

fn both(explanation: &v1::Explanation) -> (v1::DirectionVerdict, v1::DirectionVerdict) {
    (explanation.egress.clone().unwrap(), explanation.ingress.clone().unwrap())
}

/// The rules of those that isolate, each with what it says of peers and ports.
fn misses(verdict: &v1::DirectionVerdict) -> Vec<(String, Vec<String>, Vec<String>)> {
    let rules = verdict.isolated_by.iter().flat_map(|policy| policy.rules.clone());
    rules.map(|rule| (rule.rule, rule.peer_why, rule.port_why)).collect()
}

#[test]
fn a_denial_names_who_isolates_and_how_far_each_rule_came() {
    let world = shop();
    let answer = only(ask(&world, a_pod("shop/api-5f6b"), a_pod("shop/database-0"), 5432));
    assert!(!answer.allowed);
    let (egress, denied) = both(&answer);
    assert_eq!(egress.verdict(), v1::Verdict::Allowed);
    assert_eq!(egress.words, "shop/api egress[0].to[0].ports[0]");
    assert_eq!(egress.isolated_by[0].policy, "shop/api");
    assert_eq!(denied.verdict(), v1::Verdict::Denied);
    assert_eq!(denied.words, "isolated by shop/database, shop/default-deny; none of their rules allows it");
    assert_eq!(
        misses(&denied),
        [
            (
                "shop/database ingress[0]".to_owned(),
                vec!["pods app=apii: selects no pod; shop/api-5f6b has app=api".to_owned()],
                vec![]
            ),
            (
                "shop/database ingress[1]".to_owned(),
                vec![],
                vec!["\"postgres\": the destination names pg=5432/TCP".to_owned()]
            ),
        ]
    );
    assert_eq!(denied.isolated_by[1].note, "has no ingress rules");
    let nearest: Vec<bool> = denied.isolated_by[0].rules.iter().map(|rule| rule.nearest).collect();
    assert_eq!(nearest, [true, false]);
    assert_eq!(
        why_dropped(Direction::Ingress, &denied),
        "ingress: isolated by shop/database, shop/default-deny; nearest shop/database ingress[0] (peer)"
    );
    let (from, to) = (answer.from.unwrap(), answer.to.unwrap());
    assert_eq!((from.name.as_str(), from.node.as_deref()), ("shop/api-5f6b", Some("n1")));
    assert_eq!(to.address.as_deref(), Some("10.244.2.12"));
}

#[test]
fn families_that_agree_are_one_row_and_those_that_do_not_are_two() {
    let v6 = Peer::Block(IpBlock::new("fd00::/16".parse().unwrap(), &[]).unwrap());
    let more = selecting(is("app", "database"), ingress("shop", "by-block", vec![on_any_port(vec![v6])]));
    let world = with(shop(), Change::Policy(Edit::Upsert(more)));
    let answer = ask(&world, a_pod("shop/api-5f6b"), a_pod("shop/database-0"), 5432).unwrap();
    let told: Vec<(bool, Option<String>)> =
        answer.explanations.iter().map(|one| (one.allowed, one.to.clone().unwrap().address)).collect();
    assert_eq!(told, [(false, Some("10.244.2.12".into())), (true, Some("fd00::2:12".into()))]);

    let error = ask(&world, a_pod("web/front"), an_address("fd00::2:12"), 80).unwrap_err();
    assert!(matches!(&error, AskError::Bad(text) if text.contains("no addresses of one family")), "{error}");
}

#[test]
fn an_except_says_that_it_excludes_the_address() {
    let block = IpBlock::new("10.0.0.0/8".parse().unwrap(), &["10.244.3.0/24".parse().unwrap()]).unwrap();
    let other = IpBlock::new("192.168.0.0/16".parse().unwrap(), &[]).unwrap();
    let peers = vec![Peer::Block(block), Peer::Block(other)];
    let world = with(
        shop(),
        Change::Policy(Edit::Upsert(selecting(
            is("app", "database"),
            ingress("shop", "database", vec![on_any_port(peers)]),
        ))),
    );
    let (_, denied) = both(&only(ask(&world, a_pod("web/front"), a_pod("shop/database-0"), 5432)));
    assert_eq!(
        misses(&denied)[0].1,
        ["10.0.0.0/8 except 10.244.3.0/24 excludes 10.244.3.3", "192.168.0.0/16: 10.244.3.3 is not in it"]
    );
}

#[test]
fn what_is_not_understood_and_what_is_over_budget_are_verdicts_of_their_own() {
    let fault =
        Fault { origin: "test".into(), field: "spec.ingress[0]".into(), message: "what is this".into() };
    let strange = Policy {
        body: PolicyBody::NotUnderstood { types: Types::Ingress, faults: vec![fault] },
        ..ingress("web", "strange", Vec::new())
    };
    let world = with(shop(), Change::Policy(Edit::Upsert(strange)));
    let (_, ingress) = both(&only(ask(&world, a_pod("shop/api-5f6b"), a_pod("web/front"), 80)));
    assert_eq!(ingress.verdict(), v1::Verdict::NotUnderstood);
    assert_eq!(ingress.words, "isolated by web/strange, which is not understood and so allows nothing");
    assert_eq!(ingress.isolated_by[0].note, "is not understood: spec.ingress[0]: what is this");

    let world = shop();
    let over: PodsOverBudget = [(pod_key("shop", "database-0"), Direction::Ingress)].into_iter().collect();
    let cluster = Cluster { over_budget: Some(&over), ..Cluster::new(&world, UnreadyPods::Allow) };
    let request = v1::ExplainRequest {
        from: Some(a_pod("shop/api-5f6b")),
        to: Some(a_pod("shop/database-0")),
        port: port(5432),
    };
    let (egress, denied) = both(&only(explain(&cluster, &request, &Sight::Everything)));
    assert_eq!(egress.verdict(), v1::Verdict::Allowed);
    assert_eq!(denied.verdict(), v1::Verdict::OverBudget);
    assert!(!denied.passes);
    assert_eq!(denied.isolated_by.len(), 2);
}

#[test]
fn exempt_flows_and_pods_that_nothing_isolates_say_so() {
    let world = shop();
    let own = Node { addresses: ["10.9.0.1".parse().unwrap()].into(), ..node(3) };
    let host = Pod { network: PodNetwork::Host, ..pod("web/host", "host", 3, &[]) };
    let world = with(with(world, Change::Node(Edit::Upsert(own))), Change::Pod(Edit::Upsert(host)));
    let kinds = |from, to| {
        let (egress, ingress) = both(&only(ask(&world, from, to, 80)));
        (egress.verdict(), ingress.verdict())
    };
    use v1::Verdict::{HostNetwork, Itself, Open, OwnNode};
    assert_eq!(kinds(a_pod("web/front"), a_pod("web/front")), (Itself, Itself));
    assert_eq!(kinds(a_pod("web/front"), a_pod("web/host")), (OwnNode, HostNetwork));
    assert_eq!(kinds(end(Asked::Node("n3".into())), a_pod("web/front")), (HostNetwork, OwnNode));
    assert_eq!(kinds(a_pod("web/front"), an_address("1.2.3.4")), (Open, Open));
    assert_eq!(kinds(a_pod("web/front"), end(Asked::Internet(true))), (Open, Open));
}

#[test]
fn the_internet_is_in_no_block_that_a_policy_names_but_in_all_that_are_everything() {
    let block = |cidr: &str, except: &[&str]| {
        let except: Vec<_> = except.iter().map(|net| net.parse().unwrap()).collect();
        Peer::Block(IpBlock::new(cidr.parse().unwrap(), &except).unwrap())
    };
    let ask_with = |peer: Peer| {
        let egress = policy("web", "out", None, Some(vec![on_any_port(vec![peer])]));
        let world = with(shop(), Change::Policy(Edit::Upsert(egress)));
        only(ask(&world, a_pod("web/front"), end(Asked::Internet(true)), 443))
    };
    let everything = ask_with(block("0.0.0.0/0", &["10.0.0.0/8"]));
    assert!(everything.allowed, "{everything:#?}");
    let named = everything.to.unwrap();
    assert_eq!(named.name, "internet");
    // Whichever address stands for it: where that is named, another one does.
    let address = named.address.unwrap();
    assert!(!ask_with(block(&format!("{address}/16"), &[])).allowed);
    assert!(ask_with(block("0.0.0.0/0", &[&format!("{address}/8")])).allowed);
}

#[test]
fn a_service_goes_to_the_target_port_of_each_endpoint_and_tells_how_many_there_are() {
    let world =
        with(shop(), Change::Pod(Edit::Upsert(pod("shop/database-1", "database", 3, &["10.244.3.12"]))));
    let endpoint = |name: &str, target_port| v1::ServiceEndpoint {
        pod: Some(v1::PodName { namespace: "shop".into(), name: name.into() }),
        address: String::new(),
        target_port,
    };
    let service = |ports: [u32; 2]| {
        let [a, b] = ports;
        end(Asked::Service(v1::ServiceEnd {
            namespace: "shop".into(),
            name: "db".into(),
            endpoints: vec![endpoint("database-0", a), endpoint("database-1", b)],
            total: 3,
        }))
    };
    let rules = vec![on_any_port(vec![pods_in("shop", is("app", "api"))])];
    let open = selecting(is("app", "database"), ingress("shop", "database", rules));
    let world = with(world, Change::Policy(Edit::Upsert(open)));
    let answer = only(ask(&world, a_pod("shop/api-5f6b"), service([5432, 5432]), 80));
    assert!(answer.allowed);
    let to = answer.to.unwrap();
    assert_eq!((to.name.as_str(), to.pods), ("shop/svc/db", 2));
    assert_eq!((to.endpoints, to.endpoints_total), (Some(2), Some(3)));
    assert_eq!(answer.port.unwrap().number, 5432);

    let differ = ask(&world, a_pod("shop/api-5f6b"), service([5432, 80]), 80).unwrap();
    let told: Vec<_> = differ
        .explanations
        .into_iter()
        .map(|one| (one.allowed, one.to.unwrap().name, one.port.unwrap().number))
        .collect();
    assert_eq!(told, [(true, "shop/database-0".to_owned(), 5432), (false, "shop/database-1".to_owned(), 80)]);
}

fn a_workload(name: &str) -> v1::End {
    let (namespace, name) = name.split_once("/deploy/").unwrap();
    end(Asked::Workload(v1::WorkloadName {
        namespace: namespace.into(),
        kind: "deploy".into(),
        name: name.into(),
    }))
}

/// So many pods of shop/deploy/NAME.
fn pods_of(name: &str, node: u8, count: u8) -> Vec<Change> {
    let workload = Workload { kind: WorkloadKind::Deployment, name: ObjectName::new(name).unwrap() };
    let owner = Owner::Workload(workload.into());
    let one = |number: u8| {
        let address = format!("10.244.{node}.{}", 100 + number);
        let pod = pod(&format!("shop/{name}-{number}"), name, node, &[&address]);
        Change::Pod(Edit::Upsert(Pod { owner: Untranslated(owner.clone()), ..pod }))
    };
    (0..count).map(one).collect()
}

#[test]
fn pods_of_a_workload_that_agree_are_one_row_and_the_others_are_told_apart() {
    let mut world = shop();
    for change in pods_of("cart", 1, 3).into_iter().chain(pods_of("page", 2, 2)) {
        world.apply(change);
    }
    let told = |world: &World| -> Vec<(String, u32, String, u32, bool)> {
        let answer = ask(world, a_workload("shop/deploy/cart"), a_workload("shop/deploy/page"), 80).unwrap();
        let row = |one: v1::Explanation| {
            let (from, to) = (one.from.unwrap(), one.to.unwrap());
            (from.name, from.pods, to.name, to.pods, one.allowed)
        };
        answer.explanations.into_iter().map(row).collect()
    };
    let (cart, page) = ("shop/deploy/cart".to_owned(), "shop/deploy/page".to_owned());
    assert_eq!(told(&world), [(cart.clone(), 3, page.clone(), 2, false)]);
    // Another node and address make no difference, as long as nobody asks for them; this does.
    let one = IpBlock::new("10.244.1.101/32".parse().unwrap(), &[]).unwrap();
    let only_one = ingress("shop", "only-one", vec![on_any_port(vec![Peer::Block(one)])]);
    world.apply(Change::Policy(Edit::Upsert(selecting(is("app", "page"), only_one))));
    assert_eq!(
        told(&world),
        [
            (format!("{cart} (2 of 3 pods, such as cart-0)"), 2, page.clone(), 2, false),
            ("shop/cart-1".to_owned(), 1, page, 2, true)
        ]
    );
}

#[test]
fn pairs_beyond_a_limit_are_not_judged_and_counted() {
    let mut world = shop();
    for change in pods_of("cart", 1, 70).into_iter().chain(pods_of("page", 2, 70)) {
        world.apply(change);
    }
    let answer = ask(&world, a_workload("shop/deploy/cart"), a_workload("shop/deploy/page"), 80).unwrap();
    assert_eq!(answer.notes, ["4096 pairs of pods were judged; 804 were not"]);
    assert!(!answer.explanations.is_empty());
}

#[test]
fn questions_that_are_none_say_what_was_expected() {
    let world = shop();
    let bad = |from, to, number| match ask(&world, from, to, number) {
        Err(AskError::Bad(text) | AskError::NotFound(text)) => text,
        other => panic!("{other:?}"),
    };
    let front = || a_pod("web/front");
    assert!(bad(front(), front(), 0).contains("expected 1 to 65535"));
    assert!(bad(front(), front(), 70_000).contains("expected 1 to 65535"));
    assert!(bad(front(), an_address("10.0.0"), 80).contains("is no address"));
    assert!(bad(front(), a_pod("web/nobody"), 80).contains("no pod web/nobody"));
    assert!(bad(front(), a_pod("wbe/front"), 80).contains("no namespace \"wbe\""));
    assert!(bad(front(), v1::End::default(), 80).contains("an end is missing"));
}

#[test]
fn what_hostile_policies_come_to_is_bounded_and_what_is_left_out_is_said() {
    let peer = |number: usize| pods_in("web", is("app", &format!("nobody-{number}")));
    let rules =
        |count: usize| (0..count).map(|n| on_any_port((0..20).map(|m| peer(n + m)).collect())).collect();
    let mut world = with(shop(), Change::Policy(Edit::Delete(policy_key("shop", "api"))));
    for number in 0..150 {
        world.apply(Change::Policy(Edit::Upsert(ingress("web", &format!("p{number}"), rules(100)))));
    }
    let (_, denied) = both(&only(ask(&world, a_pod("shop/api-5f6b"), a_pod("web/front"), 80)));
    assert!(denied.words.ends_with("and 146 more; none of their rules allows it"), "{}", denied.words);
    assert_eq!(denied.isolated_by.len(), 128);
    let first = &denied.isolated_by[0];
    assert_eq!((first.rules.len(), first.note.as_str()), (64, "36 more rules that do not allow it"));
    assert_eq!(first.rules[0].peer_why.len(), 17);
    assert_eq!(first.rules[0].peer_why[16], "and 4 more");
    let lines: usize =
        denied.isolated_by.iter().flat_map(|policy| &policy.rules).map(|rule| 1 + rule.peer_why.len()).sum();
    assert!(lines < 10_100, "{lines}");
}
