//! The evaluator against literal expectations: the classic recipes and each sentence of the API that the property
//! tests lean on. The oracle itself is pinned here, without the translation.

mod support;

use std::net::IpAddr;

use support::cluster::{
    Cluster, ContainerPort, Direction, Expression, Namespace, Net, Operator, Peer, Phase, Pod, Policy, PolicySpec, Port,
    PortNumber, Protocol, Rule, Selector, Text,
};
use support::evaluator::{Judgement, allowed, judge};
use support::flow::{Flow, State, Transport};

use Direction::{Egress, Ingress};
use Protocol::{Sctp, Tcp, Udp};

const WEB: &str = "10.0.0.1";
const DB: &str = "10.0.0.2";
const OTHER: &str = "10.0.0.3";
const OUTSIDE: &str = "192.0.2.1";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn net(text: &str) -> Net {
    let (address, prefix) = text.split_once('/').unwrap();
    Net { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

fn namespace(name: Text, labels: &[(Text, Text)]) -> Namespace {
    Namespace { name, labels: labels.iter().copied().collect() }
}

fn pod(namespace: Text, name: Text, node: Text, addresses: &[&str]) -> Pod {
    Pod {
        namespace,
        name,
        node: Some(node),
        labels: [("app", name)].into(),
        host_network: false,
        deleting: false,
        phase: Phase::Running,
        addresses: addresses.iter().map(|text| address(text)).collect(),
        ports: Vec::new(),
        interface: None,
    }
}

/// web and db in namespace shop, other in namespace lab; web and other on n0, db on n1.
fn cluster(policies: Vec<Policy>) -> Cluster {
    Cluster {
        nodes: vec!["n0", "n1"],
        namespaces: vec![namespace("shop", &[("team", "shop")]), namespace("lab", &[("team", "lab")])],
        pods: vec![
            pod("shop", "web", "n0", &[WEB]),
            pod("shop", "db", "n1", &[DB]),
            pod("lab", "other", "n0", &[OTHER]),
        ],
        policies,
    }
}

fn everything() -> Selector {
    Selector::default()
}

fn app(name: Text) -> Selector {
    Selector { match_labels: [("app", name)].into(), match_expressions: Vec::new() }
}

fn expression(key: Text, operator: Operator, values: &[Text]) -> Selector {
    let expression = Expression { key, operator, values: values.to_vec() };
    Selector { match_expressions: vec![expression], ..Selector::default() }
}

fn policy(subjects: Selector, types: &[Direction], ingress: Option<Vec<Rule>>, egress: Option<Vec<Rule>>) -> Policy {
    Policy {
        namespace: "shop",
        name: "policy",
        pod_selector: subjects,
        spec: PolicySpec::Understood { types: Some(types.to_vec()), ingress, egress },
    }
}

fn ingress(subjects: Selector, rules: Vec<Rule>) -> Policy {
    policy(subjects, &[Ingress], Some(rules), None)
}

fn egress(subjects: Selector, rules: Vec<Rule>) -> Policy {
    policy(subjects, &[Egress], None, Some(rules))
}

fn rule(peers: Vec<Peer>, ports: Vec<Port>) -> Rule {
    Rule { peers: Some(peers), ports: Some(ports) }
}

fn own(pods: Selector) -> Peer {
    Peer::Pods { pods: Some(pods), namespaces: None }
}

fn of_namespaces(namespaces: Selector) -> Peer {
    Peer::Pods { pods: None, namespaces: Some(namespaces) }
}

fn block(cidr: &str, except: &[&str]) -> Peer {
    Peer::Block { cidr: net(cidr), except: except.iter().map(|text| net(text)).collect() }
}

fn port(protocol: Protocol, port: PortNumber) -> Port {
    Port { protocol, port }
}

fn flow(source: &str, destination: &str, protocol: Protocol, number: u16) -> Flow {
    Flow::first(address(source), address(destination), Transport::Ports(protocol, 40000, number))
}

fn icmp(source: &str, destination: &str, kind: u8, hop_limit: u8) -> Flow {
    Flow::first(address(source), address(destination), Transport::Icmp { kind, hop_limit })
}

fn tcp(cluster: &Cluster, source: &str, destination: &str, number: u16) -> bool {
    allowed(cluster, &flow(source, destination, Tcp, number))
}

fn labelled(mut cluster: Cluster, name: Text, key: Text, value: Text) -> Cluster {
    cluster.pods.iter_mut().find(|pod| pod.name == name).unwrap().labels.insert(key, value);
    cluster
}

fn with_port(mut cluster: Cluster, pod: Text, name: Text, protocol: Protocol, number: u16) -> Cluster {
    let pod = cluster.pods.iter_mut().find(|candidate| candidate.name == pod).unwrap();
    pod.ports.push(ContainerPort { name, protocol, number });
    cluster
}

fn with_pod(mut cluster: Cluster, pod: Pod) -> Cluster {
    cluster.pods.push(pod);
    cluster
}

#[test]
fn without_policies_everything_passes() {
    let cluster = cluster(vec![]);
    assert!(tcp(&cluster, WEB, DB, 80));
    assert!(tcp(&cluster, OUTSIDE, WEB, 80));
    assert!(allowed(&cluster, &icmp(WEB, OUTSIDE, 8, 64)));
}

#[test]
fn default_deny_of_ingress_leaves_egress_open() {
    let cluster = cluster(vec![ingress(everything(), vec![])]);
    assert!(!tcp(&cluster, OTHER, WEB, 80));
    assert!(!tcp(&cluster, WEB, DB, 80), "db is selected as well");
    assert!(!tcp(&cluster, OUTSIDE, DB, 80));
    assert!(tcp(&cluster, WEB, OTHER, 80), "other's namespace has no policy");
    assert!(tcp(&cluster, WEB, OUTSIDE, 80));
}

#[test]
fn default_deny_of_egress_leaves_ingress_open() {
    let cluster = cluster(vec![egress(app("web"), vec![])]);
    assert!(!tcp(&cluster, WEB, DB, 80));
    assert!(!tcp(&cluster, WEB, OUTSIDE, 80));
    assert!(tcp(&cluster, DB, WEB, 80));
    assert!(tcp(&cluster, DB, OUTSIDE, 80));
}

#[test]
fn each_end_is_judged_on_its_own_node_and_both_on_a_shared_one() {
    let pass = Judgement { egress: true, ingress: true };
    let one = cluster(vec![ingress(app("db"), vec![])]);
    assert_eq!(judge(&one, "n0", &flow(WEB, DB, Tcp, 80)), pass);
    assert_eq!(judge(&one, "n1", &flow(WEB, DB, Tcp, 80)), Judgement { egress: true, ingress: false });

    let mut lab = ingress(everything(), vec![]);
    lab.namespace = "lab";
    let open_egress = egress(app("web"), vec![rule(vec![], vec![])]);
    let two = cluster(vec![lab, open_egress]);
    let verdict = judge(&two, "n0", &flow(WEB, OTHER, Tcp, 80));
    assert_eq!(verdict, Judgement { egress: true, ingress: false }, "an allowing egress does not end the matter");
    assert_eq!(judge(&two, "n1", &flow(WEB, OTHER, Tcp, 80)), pass);
}

#[test]
fn a_rule_without_peers_and_ports_allows_all() {
    for rule in [Rule { peers: None, ports: None }, rule(vec![], vec![])] {
        let cluster = cluster(vec![ingress(everything(), vec![]), ingress(app("web"), vec![rule])]);
        assert!(tcp(&cluster, OUTSIDE, WEB, 80));
        assert!(allowed(&cluster, &icmp(OUTSIDE, WEB, 8, 64)));
        assert!(allowed(&cluster, &Flow::first(address(OUTSIDE), address(WEB), Transport::Other(47))));
        assert!(!tcp(&cluster, WEB, DB, 80));
    }
}

#[test]
fn a_pod_selector_peer_stays_in_the_policys_namespace() {
    let cluster = cluster(vec![ingress(app("db"), vec![rule(vec![own(everything())], vec![])])]);
    assert!(tcp(&cluster, WEB, DB, 5432));
    assert!(!tcp(&cluster, OTHER, DB, 5432));
    assert!(!tcp(&cluster, OUTSIDE, DB, 5432), "an address of nobody matches no selector");
    let by_name = self::cluster(vec![ingress(app("db"), vec![rule(vec![own(app("other"))], vec![])])]);
    assert!(!tcp(&by_name, OTHER, DB, 5432));
}

#[test]
fn a_namespace_selector_peer_takes_all_pods_of_the_namespaces() {
    let lab = expression("team", Operator::In, &["lab", "office"]);
    let by_label = cluster(vec![ingress(app("db"), vec![rule(vec![of_namespaces(lab.clone())], vec![])])]);
    assert!(tcp(&by_label, OTHER, DB, 80));
    assert!(!tcp(&by_label, WEB, DB, 80));
    let all = cluster(vec![ingress(app("db"), vec![rule(vec![of_namespaces(everything())], vec![])])]);
    assert!(tcp(&all, OTHER, DB, 80) && tcp(&all, WEB, DB, 80));
    assert!(!tcp(&all, OUTSIDE, DB, 80), "all namespaces are still not all addresses");

    let both = |name| Peer::Pods { pods: Some(app(name)), namespaces: Some(lab.clone()) };
    let matching = cluster(vec![ingress(app("db"), vec![rule(vec![both("other")], vec![])])]);
    assert!(tcp(&matching, OTHER, DB, 80));
    let one_only = cluster(vec![ingress(app("db"), vec![rule(vec![both("web")], vec![])])]);
    assert!(!tcp(&one_only, OTHER, DB, 80) && !tcp(&one_only, WEB, DB, 80), "both selectors of one peer must match");
    let separate = vec![own(app("web")), of_namespaces(lab)];
    let either = cluster(vec![ingress(app("db"), vec![rule(separate, vec![])])]);
    assert!(tcp(&either, OTHER, DB, 80) && tcp(&either, WEB, DB, 80), "two peers are alternatives");
}

#[test]
fn the_four_operators_and_missing_keys() {
    let reaches = |selector: Selector| {
        let policy = ingress(app("db"), vec![rule(vec![own(selector)], vec![])]);
        tcp(&labelled(cluster(vec![policy]), "web", "tier", "front"), WEB, DB, 80)
    };
    assert!(reaches(expression("tier", Operator::In, &["back", "front"])));
    assert!(!reaches(expression("tier", Operator::In, &["back"])));
    assert!(!reaches(expression("absent", Operator::In, &["back"])));
    assert!(!reaches(expression("tier", Operator::NotIn, &["front"])));
    assert!(reaches(expression("tier", Operator::NotIn, &["back"])));
    assert!(reaches(expression("absent", Operator::NotIn, &["back"])), "a missing key satisfies NotIn");
    assert!(reaches(expression("tier", Operator::Exists, &[])));
    assert!(!reaches(expression("absent", Operator::Exists, &[])));
    assert!(!reaches(expression("tier", Operator::DoesNotExist, &[])));
    assert!(reaches(expression("absent", Operator::DoesNotExist, &[])));
}

#[test]
fn types_default_to_ingress_and_to_egress_if_it_has_rules() {
    let of = |types: Option<Vec<Direction>>, egress: Option<Vec<Rule>>| {
        let spec = PolicySpec::Understood { types, ingress: None, egress };
        let cluster = cluster(vec![Policy { namespace: "shop", name: "p", pod_selector: app("web"), spec }]);
        (tcp(&cluster, OUTSIDE, WEB, 80), tcp(&cluster, WEB, OUTSIDE, 80))
    };
    let to_db = Some(vec![rule(vec![block("10.0.0.2/32", &[])], vec![])]);
    assert_eq!(of(None, None), (false, true));
    assert_eq!(of(None, Some(vec![])), (false, true));
    assert_eq!(of(None, to_db.clone()), (false, false));
    assert_eq!(of(Some(vec![]), to_db.clone()), (false, false), "an empty list is none");
    assert_eq!(of(Some(vec![Ingress]), to_db.clone()), (false, true), "egress rules of no egress policy");
    assert_eq!(of(Some(vec![Egress]), to_db), (true, false));
    assert_eq!(of(Some(vec![Egress]), None), (true, false));
}

#[test]
fn policies_add_up() {
    let from_other = rule(vec![block("10.0.0.3/32", &[])], vec![port(Tcp, PortNumber::Number(80))]);
    let from_db = rule(vec![own(app("db"))], vec![port(Tcp, PortNumber::Number(81))]);
    let cluster = cluster(vec![
        ingress(everything(), vec![]),
        ingress(app("web"), vec![from_other]),
        ingress(app("web"), vec![from_db]),
    ]);
    assert!(tcp(&cluster, OTHER, WEB, 80) && tcp(&cluster, DB, WEB, 81));
    assert!(!tcp(&cluster, OTHER, WEB, 81) && !tcp(&cluster, DB, WEB, 80), "peers and ports of one rule belong together");
}

#[test]
fn a_policy_not_understood_isolates_in_its_directions() {
    let spec = PolicySpec::NotUnderstood { types: vec![Egress] };
    let policy = Policy { namespace: "shop", name: "p", pod_selector: app("web"), spec };
    let closed = cluster(vec![policy.clone()]);
    assert!(!tcp(&closed, WEB, DB, 80));
    assert!(tcp(&closed, DB, WEB, 80));
    let opened = cluster(vec![policy, egress(app("web"), vec![rule(vec![own(app("db"))], vec![])])]);
    assert!(tcp(&opened, WEB, DB, 80), "others may still allow");
    assert!(!tcp(&opened, WEB, OTHER, 80));
}

#[test]
fn a_block_without_its_excepts() {
    let peer = block("10.0.0.0/29", &["10.0.0.2/31", "10.0.0.7/32"]);
    let cluster = cluster(vec![ingress(app("web"), vec![rule(vec![peer], vec![])])]);
    for (source, expected) in [
        ("9.255.255.255", false),
        ("10.0.0.0", true),
        (DB, false),
        (OTHER, false),
        ("10.0.0.4", true),
        ("10.0.0.6", true),
        ("10.0.0.7", false),
        ("10.0.0.8", false),
    ] {
        assert_eq!(tcp(&cluster, source, WEB, 80), expected, "{source}");
    }
}

#[test]
fn an_except_belongs_to_its_own_peer_only() {
    let peers = vec![block("0.0.0.0/0", &["10.0.0.0/8"]), block("10.0.0.0/24", &["10.0.0.2/32"]), own(app("db"))];
    let with_selector = cluster(vec![ingress(app("web"), vec![rule(peers.clone(), vec![])])]);
    assert!(tcp(&with_selector, OTHER, WEB, 80) && tcp(&with_selector, DB, WEB, 80));
    let blocks_only = cluster(vec![ingress(app("web"), vec![rule(peers[..2].to_vec(), vec![])])]);
    assert!(tcp(&blocks_only, OUTSIDE, WEB, 80) && !tcp(&blocks_only, DB, WEB, 80));
}

#[test]
fn blocks_match_their_own_family_and_ignore_host_bits() {
    let six = "fd00::1";
    let v4 = cluster(vec![ingress(everything(), vec![rule(vec![block("0.0.0.0/0", &[])], vec![])])]);
    let v4 = with_pod(v4, pod("shop", "six", "n0", &[six]));
    assert!(tcp(&v4, OUTSIDE, WEB, 80));
    assert!(!tcp(&v4, "2001:db8::1", six, 80));
    let v6 = cluster(vec![ingress(everything(), vec![rule(vec![block("::/0", &["2001:db8::/32"])], vec![])])]);
    let v6 = with_pod(v6, pod("shop", "six", "n0", &[six]));
    assert!(!tcp(&v6, OUTSIDE, WEB, 80));
    assert!(tcp(&v6, "2001:db7:ffff::1", six, 80) && !tcp(&v6, "2001:db8::1", six, 80));
    let host_bits = cluster(vec![ingress(app("web"), vec![rule(vec![block("10.0.0.77/24", &[])], vec![])])]);
    assert!(tcp(&host_bits, OTHER, WEB, 80) && !tcp(&host_bits, OUTSIDE, WEB, 80));
}

#[test]
fn ports_by_number_range_and_protocol() {
    let ports = vec![
        port(Tcp, PortNumber::Number(80)),
        port(Tcp, PortNumber::Range(8080, 8082)),
        port(Udp, PortNumber::All),
        port(Sctp, PortNumber::Range(65534, 65535)),
    ];
    let cluster = cluster(vec![ingress(app("web"), vec![rule(vec![], ports)])]);
    for (protocol, number, expected) in [
        (Tcp, 79, false),
        (Tcp, 80, true),
        (Tcp, 81, false),
        (Tcp, 8079, false),
        (Tcp, 8080, true),
        (Tcp, 8081, true),
        (Tcp, 8082, true),
        (Tcp, 8083, false),
        (Udp, 0, true),
        (Udp, 65535, true),
        (Sctp, 80, false),
        (Sctp, 65533, false),
        (Sctp, 65534, true),
        (Sctp, 65535, true),
    ] {
        assert_eq!(allowed(&cluster, &flow(OUTSIDE, WEB, protocol, number)), expected, "{protocol} {number}");
    }
    assert!(!allowed(&cluster, &icmp(OUTSIDE, WEB, 8, 64)), "ICMP matches rules without ports only");
    assert!(!allowed(&cluster, &Flow::first(address(OUTSIDE), address(WEB), Transport::Other(47))));
}

#[test]
fn named_ports_of_ingress_are_those_of_each_selected_pod() {
    let rules = || vec![rule(vec![], vec![port(Tcp, PortNumber::Name("http"))])];
    let cluster = cluster(vec![ingress(everything(), rules())]);
    let cluster = with_port(with_port(cluster, "web", "http", Tcp, 80), "db", "http", Tcp, 8080);
    let cluster = with_port(with_port(cluster, "web", "http", Udp, 81), "other", "http", Tcp, 82);
    assert!(tcp(&cluster, OUTSIDE, WEB, 80) && tcp(&cluster, OUTSIDE, DB, 8080));
    assert!(!tcp(&cluster, OUTSIDE, WEB, 8080) && !tcp(&cluster, OUTSIDE, DB, 80));
    assert!(!tcp(&cluster, OUTSIDE, WEB, 81), "the name is of another protocol's port");
    assert!(!tcp(&cluster, OTHER, WEB, 82), "the source's ports say nothing");
}

#[test]
fn named_ports_of_egress_are_the_destinations_however_it_is_reached() {
    for peers in [vec![], vec![block("0.0.0.0/0", &[])], vec![of_namespaces(everything())]] {
        let http = vec![port(Tcp, PortNumber::Name("http"))];
        let cluster = cluster(vec![egress(app("web"), vec![rule(peers, http)])]);
        let cluster = with_port(with_port(cluster, "db", "http", Tcp, 8080), "other", "http", Tcp, 80);
        assert!(tcp(&cluster, WEB, DB, 8080) && tcp(&cluster, WEB, OTHER, 80));
        assert!(!tcp(&cluster, WEB, DB, 80) && !tcp(&cluster, WEB, OTHER, 8080));
        assert!(!tcp(&cluster, WEB, OUTSIDE, 80), "no pod, no name");
    }
}

#[test]
fn one_name_may_stand_for_several_numbers() {
    let cluster = cluster(vec![ingress(app("web"), vec![rule(vec![], vec![port(Tcp, PortNumber::Name("http"))])])]);
    let cluster = with_port(with_port(cluster, "web", "http", Tcp, 80), "web", "http", Tcp, 8080);
    assert!(tcp(&cluster, OUTSIDE, WEB, 80) && tcp(&cluster, OUTSIDE, WEB, 8080));
}

#[test]
fn egress_to_dns_only() {
    let dns = vec![port(Udp, PortNumber::Number(53)), port(Tcp, PortNumber::Number(53))];
    let cluster = cluster(vec![egress(everything(), vec![rule(vec![of_namespaces(everything())], dns)])]);
    assert!(allowed(&cluster, &flow(WEB, OTHER, Udp, 53)) && tcp(&cluster, WEB, OTHER, 53));
    assert!(!tcp(&cluster, WEB, OTHER, 80));
    assert!(!allowed(&cluster, &flow(WEB, OUTSIDE, Udp, 53)));
}

#[test]
fn host_network_pods_are_addresses_only() {
    let node = "10.0.0.9";
    let mut host = pod("shop", "host", "n0", &[node]);
    host.host_network = true;
    host.ports.push(ContainerPort { name: "http", protocol: Tcp, number: 80 });
    let selectors = vec![own(everything()), of_namespaces(everything())];
    let denied = with_pod(cluster(vec![ingress(everything(), vec![rule(selectors, vec![])])]), host.clone());
    assert!(tcp(&denied, WEB, node, 80), "no policy applies to it");
    assert!(!tcp(&denied, node, WEB, 80), "no selector matches it");
    let by_block = cluster(vec![ingress(everything(), vec![rule(vec![block("10.0.0.9/32", &[])], vec![])])]);
    assert!(tcp(&with_pod(by_block, host.clone()), node, WEB, 80));
    let named = egress(app("web"), vec![rule(vec![], vec![port(Tcp, PortNumber::Name("http"))])]);
    assert!(!tcp(&with_pod(cluster(vec![named]), host), WEB, node, 80), "it has no named ports");
}

#[test]
fn finished_pods_own_nothing_and_deleting_ones_yield() {
    let policies = || vec![ingress(app("web"), vec![])];
    for phase in [Phase::Succeeded, Phase::Failed] {
        let mut cluster = cluster(policies());
        cluster.pods[0].phase = phase;
        assert!(tcp(&cluster, OUTSIDE, WEB, 80));
        let reused = with_pod(cluster, pod("lab", "web", "n0", &[WEB]));
        assert!(tcp(&reused, OUTSIDE, WEB, 80), "the policy is not of that namespace");
    }
    let mut deleting = cluster(policies());
    deleting.pods[0].deleting = true;
    assert!(!tcp(&deleting, OUTSIDE, WEB, 80), "it owns the address as long as nobody else does");
    assert!(tcp(&with_pod(deleting, pod("lab", "new", "n0", &[WEB])), OUTSIDE, WEB, 80));
}

#[test]
fn a_contested_address_passes_only_what_passes_for_every_owner() {
    let from = |cidr| vec![rule(vec![block(cidr, &[])], vec![])];
    let closed = ingress(app("web"), from("10.0.0.2/32"));
    let contested = with_pod(cluster(vec![closed]), pod("lab", "twin", "n0", &[WEB]));
    assert!(tcp(&contested, DB, WEB, 80) && !tcp(&contested, OTHER, WEB, 80));
    let to_web = ingress(app("db"), vec![rule(vec![own(app("web"))], vec![])]);
    assert!(tcp(&cluster(vec![to_web.clone()]), WEB, DB, 80));
    let as_peer = with_pod(cluster(vec![to_web]), pod("lab", "twin", "n0", &[WEB]));
    assert!(!tcp(&as_peer, WEB, DB, 80), "as a peer, too, every owner must match");

    let mut all_deleting = with_pod(cluster(vec![ingress(app("web"), vec![])]), pod("lab", "twin", "n0", &[WEB]));
    all_deleting.pods.iter_mut().for_each(|pod| pod.deleting = true);
    assert!(!tcp(&all_deleting, DB, WEB, 80), "then all of them own it");
}

#[test]
fn several_addresses_are_all_guarded() {
    let mut cluster = cluster(vec![ingress(app("web"), vec![])]);
    cluster.pods[0].addresses.extend([address("10.0.0.4"), address("fd00::4")]);
    assert!(!tcp(&cluster, DB, "10.0.0.4", 80) && !tcp(&cluster, "fd00::9", "fd00::4", 80));
}

#[test]
fn a_pod_reaches_itself_unless_another_has_its_address() {
    let second = "10.0.0.4";
    let mut cluster = cluster(vec![policy(everything(), &[Ingress, Egress], None, None)]);
    cluster.pods[0].addresses.push(address(second));
    assert!(tcp(&cluster, WEB, WEB, 80) && tcp(&cluster, WEB, second, 80));
    let contested = with_pod(cluster, pod("lab", "twin", "n1", &[second]));
    assert!(!tcp(&contested, WEB, second, 80));
    assert!(tcp(&contested, second, second, 80));
}

#[test]
fn replies_related_errors_and_neighbour_discovery_pass() {
    let cluster = cluster(vec![policy(everything(), &[Ingress, Egress], None, None)]);
    let cluster = with_pod(cluster, pod("shop", "six", "n0", &["fd00::1"]));
    let in_state = |state, flow: Flow| allowed(&cluster, &Flow { state, ..flow });
    assert!(in_state(State::Reply, flow(OUTSIDE, WEB, Tcp, 80)));
    assert!(!in_state(State::Related, flow(OUTSIDE, WEB, Tcp, 80)), "of related packets errors only");
    assert!(in_state(State::Related, icmp(OUTSIDE, WEB, 3, 64)) && in_state(State::Related, icmp(OUTSIDE, WEB, 11, 64)));
    assert!(!in_state(State::Related, icmp(OUTSIDE, WEB, 8, 64)));
    assert!(!allowed(&cluster, &icmp(OUTSIDE, WEB, 3, 64)), "an error that belongs to nothing");
    assert!(in_state(State::Related, icmp("2001:db8::1", "fd00::1", 1, 64)));
    for kind in 133..=137 {
        assert!(allowed(&cluster, &icmp("2001:db8::1", "fd00::1", kind, 255)), "{kind}");
        assert!(!allowed(&cluster, &icmp("2001:db8::1", "fd00::1", kind, 64)), "{kind}: it was forwarded");
    }
    assert!(!allowed(&cluster, &icmp(OUTSIDE, WEB, 135, 255)), "IPv4 has no neighbour discovery");
}

#[test]
fn a_packet_from_a_pods_interface_must_have_the_pods_source() {
    let mut cluster = cluster(vec![egress(app("web"), vec![])]);
    cluster.pods[2].interface = Some("veth2");
    let from = |inbound, flow: Flow| allowed(&cluster, &Flow { inbound: Some(inbound), ..flow });
    assert!(from("veth2", flow(OTHER, DB, Tcp, 80)));
    assert!(!from("veth2", flow(OUTSIDE, DB, Tcp, 80)));
    assert!(!from("veth2", flow(DB, DB, Tcp, 80)));
    assert!(from("eth0", flow(OUTSIDE, DB, Tcp, 80)));
}
