//! What rows look like, what an asker sees, and what is too large.

use std::sync::Arc;

use flock_compiler_core::object::{Direction, Node, Peer, PortMatch, PortName, Rule};
use flock_compiler_core::port::Protocol;
use flock_compiler_core::{Change, Edit, Labels, Selector, UnreadyPods, World};
use flock_shapes::parts::{
    self, address, block, labelled, named, named_port, namespace_name, object_name, pods_in, pods_of, policy,
    rule, tcp, udp,
};

use super::work::Work;
use super::*;

/// Pods by namespace and name; each has a label `app` of its name without number.
const PODS: &[(&str, &str)] = &[
    ("kube-system", "dns"),
    ("sandbox", "toolbox"),
    ("shop", "api-0"),
    ("shop", "api-1"),
    ("shop", "database-0"),
];

fn pair(key: &str, value: &str) -> parts::Pair {
    (key.into(), value.into())
}

fn app(name: &str) -> Selector {
    labelled([&pair("app", name)])
}

fn of_namespace(name: &str) -> Selector {
    labelled([&pair("kubernetes.io/metadata.name", name)])
}

/// A world of these pods and policies.
fn world(pods: &[(&str, &str)], policies: Vec<Policy>) -> World {
    let mut world = World::default();
    let mut names: Vec<&str> = pods.iter().map(|(namespace, _)| *namespace).collect();
    names.sort_unstable();
    names.dedup();
    let object =
        |name: &str| parts::namespace(namespace_name(name), [pair("kubernetes.io/metadata.name", name)]);
    let namespaces = names.into_iter().map(object).collect();
    let pod = |(number, (namespace, name)): (usize, &(&str, &str))| {
        let app = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        let labels: Labels = [("app", app)].into_iter().collect();
        let ports = [named_port(&PortName::new("web"), 8080)];
        parts::pod(&namespace_name(namespace), name, None::<&Node>, labels, address(number), &ports)
    };
    world.apply(Change::Namespace(Edit::Replace(namespaces)));
    world.apply(Change::Pod(Edit::Replace(pods.iter().enumerate().map(pod).collect())));
    world.apply(Change::Policy(Edit::Replace(policies)));
    world
}

fn of(
    namespace: &str,
    name: &str,
    selector: Selector,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
) -> Policy {
    policy(&namespace_name(namespace), &object_name(name), selector, ingress, egress)
}

fn proposed(policies: Vec<Policy>) -> Proposed {
    let origins = policies.iter().map(|policy| (policy_title(&policy.key), Arc::from("new.yaml"))).collect();
    Proposed { policies, origins, ..Proposed::default() }
}

fn told(world: &World, proposed: &Proposed, sight: &Sight) -> Result<Vec<String>, AskError> {
    let rows = preview(&Cluster::new(world, UnreadyPods::Expected), proposed, sight)?;
    Ok(rows.iter().map(line).collect())
}

fn line(row: &v1::PreviewRow) -> String {
    let sign = if row.change() == v1::Change::Opened { '+' } else { '-' };
    let name = |end: &Option<v1::ShownEnd>| end.as_ref().map(|end| end.name.clone()).unwrap_or_default();
    let atom = |atom: &v1::PortAtom| {
        let name = if atom.name.is_empty() { String::new() } else { format!(" {}", atom.name) };
        let other = if atom.any_other { " other" } else { "" };
        format!("{} {}-{}{name}{other}", atom.protocol, atom.first, atom.last)
    };
    let ports: Vec<String> = row.ports.iter().map(atom).collect();
    let ports = if row.everything { "everything".to_owned() } else { ports.join(", ") };
    format!("{sign} {} > {}: {ports}; {}", name(&row.from), name(&row.to), row.because)
}

fn only(names: &[&str]) -> Sight {
    Sight::Only(names.iter().map(|name| namespace_name(name)).collect())
}

/// DNS of the shop alone, which its own default denies so far.
fn dns() -> (World, Proposed) {
    let deny = of("shop", "default-deny", Selector::everything(), None, Some(Vec::new()));
    let to_dns = rule([pods_in(of_namespace("kube-system"), app("dns"))], [udp(53)]);
    let from_shop = rule([pods_in(of_namespace("shop"), Selector::everything())], []);
    let allow = of("shop", "allow-dns", app("api"), None, Some(vec![to_dns]));
    let guard = of("kube-system", "dns-only-from-shop", app("dns"), Some(vec![from_shop]), None);
    (world(PODS, vec![deny]), proposed(vec![allow, guard]))
}

#[test]
fn rows_tell_what_allows_and_what_isolates_at_both_ends() {
    let (world, proposed) = dns();
    assert_eq!(
        told(&world, &proposed, &Sight::Everything).unwrap(),
        [
            "+ shop/api-0 > kube-system/dns: UDP 53-53; allowed by shop/allow-dns egress[0]; kube-system/dns-only-from-shop ingress[0]",
            "+ shop/api-1 > kube-system/dns: UDP 53-53; allowed by shop/allow-dns egress[0]; kube-system/dns-only-from-shop ingress[0]",
            "- internet > kube-system/dns: everything; isolated by kube-system/dns-only-from-shop",
            "- sandbox/toolbox > kube-system/dns: everything; isolated by kube-system/dns-only-from-shop",
        ]
    );
    let rows = preview(&Cluster::new(&world, UnreadyPods::Expected), &proposed, &Sight::Everything).unwrap();
    let objects: Vec<_> = rows[0].objects.iter().map(|it| (&*it.name, &*it.origin)).collect();
    let files = [
        ("NetworkPolicy kube-system/dns-only-from-shop", "new.yaml"),
        ("NetworkPolicy shop/allow-dns", "new.yaml"),
    ];
    assert_eq!(objects, files);
    let cite = &rows[0].cites[0];
    assert_eq!(
        (&*cite.text, cite.direction(), cite.rule),
        ("shop/allow-dns egress[0]", v1::Direction::Egress, Some(0))
    );
}

#[test]
fn a_denial_at_both_ends_names_both() {
    let deny = |namespace, direction: Direction| {
        let none = |is_so: bool| is_so.then(Vec::new);
        let (ingress, egress) = (none(direction == Direction::Ingress), none(direction == Direction::Egress));
        of(namespace, "deny", Selector::everything(), ingress, egress)
    };
    let proposed =
        proposed(vec![deny("sandbox", Direction::Egress), deny("kube-system", Direction::Ingress)]);
    let rows = told(&world(&PODS[..2], Vec::new()), &proposed, &Sight::Everything).unwrap();
    assert_eq!(
        rows,
        [
            "- internet > kube-system/dns: everything; isolated by kube-system/deny",
            "- sandbox/toolbox > internet: everything; isolated by sandbox/deny",
            "- sandbox/toolbox > kube-system/dns: everything; isolated by sandbox/deny; kube-system/deny",
        ]
    );
}

#[test]
fn ports_are_ranges_with_names_and_any_other() {
    let own = || pods_of(&namespace_name("shop"), app("api"));
    let all_but = of(
        "shop",
        "some",
        app("database"),
        Some(vec![rule([own()], [named(&PortName::new("web")), tcp(5432)])]),
        None,
    );
    let rows = told(&world(&PODS[3..], Vec::new()), &proposed(vec![all_but]), &Sight::Everything).unwrap();
    let closed =
        "TCP 0-5431 other, TCP 5433-8079 other, TCP 8081-65535 other, UDP 0-65535, SCTP 0-65535, other 0-0";
    assert_eq!(
        rows,
        [
            "- internet > shop/database-0: everything; isolated by shop/some".to_owned(),
            format!("- shop/api-1 > shop/database-0: {closed}; isolated by shop/some"),
        ]
    );
    let deny = of("shop", "deny", app("database"), Some(Vec::new()), None);
    let web =
        of("shop", "web", app("database"), Some(vec![rule([own()], [named(&PortName::new("web"))])]), None);
    let rows = told(&world(&PODS[3..], vec![deny]), &proposed(vec![web]), &Sight::Everything).unwrap();
    assert_eq!(rows, ["+ shop/api-1 > shop/database-0: TCP 8080-8080 web; allowed by shop/web ingress[0]"]);
}

#[test]
fn what_is_deleted_opens_and_blocks_are_named_as_they_are_written() {
    let internet = block(([0, 0, 0, 0], 0), &[([10, 0, 0, 0], 8), ([192, 168, 0, 0], 16)]);
    let out = of("sandbox", "out", Selector::everything(), None, Some(vec![rule([internet], [tcp(443)])]));
    let deny = of("sandbox", "deny", Selector::everything(), None, Some(Vec::new()));
    let pods = &PODS[1..2];
    let rows = told(&world(pods, vec![deny.clone()]), &proposed(vec![out]), &Sight::Everything).unwrap();
    let range = "0.0.0.0/0 except 10.0.0.0/8, 192.168.0.0/16";
    assert_eq!(rows, [format!("+ sandbox/toolbox > {range}: TCP 443-443; allowed by sandbox/out egress[0]")]);
    let deleted = Proposed { deleted: vec![deny.key.clone()], ..Proposed::default() };
    let rows = told(&world(pods, vec![deny]), &deleted, &Sight::Everything).unwrap();
    assert_eq!(rows, ["+ sandbox/toolbox > internet: everything; nothing isolates either end"]);
    let twice = told(&world(pods, Vec::new()), &deleted, &Sight::Everything);
    assert_eq!(twice, Err(AskError::NotFound("no NetworkPolicy sandbox/deny".into())));
}

#[test]
fn labels_of_a_namespace_open_and_close_what_selects_them() {
    let trusted = pods_in(labelled([&pair("trusted", "yes")]), Selector::everything());
    let guard = of("shop", "guard", app("database"), Some(vec![rule([trusted], [tcp(5432)])]), None);
    let labels = [pair("trusted", "yes")];
    let relabelled = parts::namespace(namespace_name("sandbox"), labels);
    let proposed = Proposed { namespaces: vec![relabelled], ..Proposed::default() };
    let rows = told(&world(PODS, vec![guard]), &proposed, &Sight::Everything).unwrap();
    assert_eq!(
        rows,
        ["+ sandbox/toolbox > shop/database-0: TCP 5432-5432; allowed by shop/guard ingress[0]"]
    );
}

#[test]
fn what_is_there_already_changes_nothing() {
    let (world, mut proposed) = dns();
    proposed.policies = world.policies().values().map(|policy| Policy::clone(policy)).collect();
    assert_eq!(told(&world, &proposed, &Sight::Everything), Ok(Vec::new()));
    let object = world.namespaces().values().next().unwrap();
    let origins = [(namespace_title(&object.name), Arc::from("new.yaml"))].into();
    let assumed = parts::namespace(namespace_name("shop"), []);
    let both = [Namespace::clone(object), assumed];
    let read = Proposed::of_manifests([], &both, Vec::new(), origins);
    assert_eq!(read.namespaces, [Namespace::clone(object)], "nothing was said of the other's labels");
}

#[test]
fn an_asker_sees_of_other_namespaces_their_names_and_the_verdict() {
    let (world, mut proposed) = dns();
    let refused = told(&world, &proposed, &only(&["shop"])).unwrap_err();
    assert_eq!(
        refused,
        AskError::NotAllowed(
            "what is proposed is in namespace kube-system, whose policies you may not see".into()
        )
    );
    // The guard stands, and the shop's own policy is proposed.
    let guard = proposed.policies.pop().unwrap();
    let mut world = world;
    world.apply(Change::Policy(Edit::Upsert(guard)));
    assert_eq!(
        told(&world, &proposed, &only(&["shop"])).unwrap(),
        [
            "+ shop/api-0 > pods of kube-system: UDP 53-53; allowed by shop/allow-dns egress[0]; a policy of namespace kube-system",
            "+ shop/api-1 > pods of kube-system: UDP 53-53; allowed by shop/allow-dns egress[0]; a policy of namespace kube-system",
        ]
    );
}

#[test]
fn many_ends_are_named_by_namespace_and_very_many_are_counted() {
    let names: Vec<String> = (0..12).map(|number| format!("web-{number}")).collect();
    let spaces: Vec<String> = (0..12).map(|number| format!("team-{number:02}")).collect();
    let one: Vec<(&str, &str)> =
        names.iter().map(|name| ("shop", name.as_str())).chain([("a", "b")]).collect();
    let deny = || proposed(vec![of("a", "deny", Selector::everything(), Some(Vec::new()), None)]);
    assert_eq!(
        told(&world(&one, Vec::new()), &deny(), &Sight::Everything).unwrap(),
        [
            "- a/* > a/b: everything; isolated by a/deny",
            "- internet > a/b: everything; isolated by a/deny",
            "- shop/* > a/b: everything; isolated by a/deny",
        ]
    );
    let many: Vec<(&str, &str)> =
        spaces.iter().map(|name| (name.as_str(), "pod")).chain([("a", "b")]).collect();
    let world = world(&many, Vec::new());
    let closed =
        ["all pods", "internet"].map(|from| format!("- {from} > a/b: everything; isolated by a/deny"));
    assert_eq!(told(&world, &deny(), &Sight::Everything).unwrap(), closed);
    assert_eq!(told(&world, &deny(), &only(&["a"])).unwrap(), closed);
}

#[test]
fn a_policy_of_ten_thousand_rules_is_too_large_if_it_has_as_many_peers_and_not_if_it_has_as_many_ports() {
    let (world, _) = dns();
    let cluster = Cluster::new(&world, UnreadyPods::Expected);
    let ask = |most: u64, rules: Vec<Rule>| {
        let policy = of("shop", "long", app("database"), Some(rules), None);
        within(&mut Work::of(most), &cluster, &proposed(vec![policy]), &Sight::Everything)
    };
    let ports = |number: u16| {
        PortMatch::Range(flock_compiler_core::port::PortRange::single(Protocol::Tcp, 2 * number))
    };
    let rows = ask(10_000_000, (0..10_000).map(|number| rule([], [ports(number)])).collect()).unwrap();
    assert!(!rows.is_empty());
    let peers = |number: u16| -> Vec<Peer> {
        let value = |part| app(&format!("{number}-{part}"));
        (0..10).map(|part| pods_in(Selector::everything(), value(part))).collect()
    };
    let refused =
        ask(1_000_000, (0..10_000).map(|number| rule(peers(number), [ports(number)])).collect()).unwrap_err();
    assert!(matches!(refused, AskError::TooLarge(_)), "{refused:?}");
    // Every other address of a network, each block with one taken out.
    let holes = |number: u16| {
        let [high, low] = (2 * number).to_be_bytes();
        block(([0, 0, 0, 0], 0), &[([198, 18, high, low], 32)])
    };
    let refused = ask(1_000_000, (0..10_000).map(|number| rule([holes(number)], [])).collect()).unwrap_err();
    assert!(matches!(refused, AskError::TooLarge(_)), "{refused:?}");
}
